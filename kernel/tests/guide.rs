//! The Rust of the guide and of the front page compiles: each of its blocks stands here, too.

#![allow(dead_code, reason = "it is compiled, and not run")]

use std::error::Error;
use std::time::Duration;

use krarup::term::Atom;
use krarup::{Cookie, Node, Process, ProcessResult};

const PAGES: &[(&str, &str)] = &[
    ("README.md", include_str!("../../README.md")),
    ("children.md", include_str!("../../docs/guide/children.md")),
    ("discovery.md", include_str!("../../docs/guide/discovery.md")),
    ("firewall.md", include_str!("../../docs/guide/firewall.md")),
    ("membership.md", include_str!("../../docs/guide/membership.md")),
    ("node.md", include_str!("../../docs/guide/node.md")),
    ("processes.md", include_str!("../../docs/guide/processes.md")),
    ("tuning.md", include_str!("../../docs/guide/tuning.md")),
];

/// Lines are broken in one way here and in another there.
fn without_blanks(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn every_block_of_the_guide_stands_here() {
    let here = without_blanks(include_str!("guide.rs"));
    let mut blocks = 0;
    for (page, text) in PAGES {
        for block in text.split("\n```rust").skip(1) {
            let (_, block) = block.split_once('\n').expect("a block has lines");
            let (block, _) = block.split_once("\n```").expect("a block has an end");
            assert!(here.contains(&without_blanks(block)), "{page} has what is not here:\n{block}");
            blocks += 1;
        }
    }
    assert!(blocks >= 12, "{blocks} blocks found");
}

mod a_node {
    use krarup::term::Pid;
    use krarup::{Cookie, Node, Process, ProcessResult};

    fn main() -> Result<(), Box<dyn std::error::Error>> {
        let node = Node::builder("shop@127.0.0.1").cookie(Cookie::new("secret")?).start()?;
        node.spawn("greeter", greeter)?;
        std::thread::park();
        Ok(())
    }

    async fn greeter(mut me: Process) -> ProcessResult {
        while let Ok(signal) = me.recv().await {
            if let Ok((from, name)) = signal.message::<(Pid, &str)>() {
                me.send(from, &format!("good day, {name}")).await?;
            }
        }
        Ok(())
    }
}

#[rustfmt::skip]
async fn children(node: Node, time: Duration) -> Result<(), Box<dyn Error>> {
    use krarup::child::{Child, Stop};

    let worker = Child::builder("erl", "worker").hand_over_cookie().start(&node).await?;
    let sum: i64 = node.rpc(worker.node().as_str(), "lists", "sum", ([1, 2, 3],), time).await?;
    assert!(worker.stop(Stop::Halt, Duration::from_secs(5)).await);
    let _ = sum;
    Ok(())
}

#[rustfmt::skip]
fn discovery(node: Node) -> Result<(), Box<dyn Error>> {
    use krarup::discovery::{Discovery, Source};

    let sources = vec!["dns:shop@shop.internal".parse()?, Source::Static(vec!["db@10.0.0.6".into()])];
    node.discover(Discovery::new(sources)).wait()?;
    Ok(())
}

#[rustfmt::skip]
fn cookies(node: Node) -> Result<(), Box<dyn Error>> {
    node.set_cookie(Cookie::new("common")?).wait()?;
    node.set_cookie_for("db@10.0.0.6", Cookie::new("other")?).wait()?;
    Ok(())
}

#[rustfmt::skip]
async fn who_comes_and_goes(mut me: Process) -> ProcessResult {
    use krarup::{NodeMonitorOptions, NodeTypes, Signal};

    me.monitor_nodes_with(true, NodeMonitorOptions::default().node_type(NodeTypes::All));
    match me.recv().await? {
        Signal::NodeUp(up) => println!("{} is {}", up.node, up.node_type.as_str()),
        Signal::NodeDown(down) => println!("{} went: {}", down.node, down.reason),
        _ => {}
    }
    Ok(())
}

#[rustfmt::skip]
fn silence(node: Node) -> Result<(), Box<dyn Error>> {
    node.set_net_ticktime(Duration::from_secs(8), Duration::from_secs(60)).wait()?;
    Ok(())
}

#[rustfmt::skip]
async fn calls(me: Process) -> ProcessResult {
    let count: u64 = me.call(("counter", "shop@127.0.0.1"), &("add", 1), Duration::from_secs(5)).await?;
    me.cast(("counter", "shop@127.0.0.1"), &1_u64).await?;
    let _ = count;
    Ok(())
}

#[rustfmt::skip]
fn servers(node: Node) -> Result<(), Box<dyn Error>> {
    use krarup::gen_server::{Answer, Caller, GenServer, serve};

    struct Counter(u64);

    impl GenServer for Counter {
        type Call = (String, u64);
        type Reply = u64;
        type Cast = u64;

        async fn call(&mut self, _: &mut Process, (what, n): (String, u64), _: &Caller)
            -> Result<Answer<u64>, Box<dyn std::error::Error>>
        {
            if what == "add" {
                self.0 += n;
            }
            Ok(Answer::Reply(self.0))
        }
    }

    node.spawn("counter", |me| serve(me, Counter(0)))?;
    Ok(())
}

#[rustfmt::skip]
fn supervision(node: Node) -> Result<(), Box<dyn Error>> {
    async fn stock(_: Process) -> ProcessResult { Ok(()) }
    async fn till(_: Process) -> ProcessResult { Ok(()) }
    let deliveries = krarup::supervisor::Supervisor::new(krarup::supervisor::Strategy::OneForOne);

    use krarup::supervisor::{ChildSpec, Restart, Shutdown, Strategy, Supervisor};

    let shop = Supervisor::new(Strategy::RestForOne)
        .intensity(3, Duration::from_secs(5))
        .child(ChildSpec::new("stock", stock).restart(Restart::Transient))
        .child(ChildSpec::new("till", till).name("till").shutdown(Shutdown::BrutalKill))
        .child(ChildSpec::supervisor("deliveries", deliveries).shard(1));
    node.spawn("shop", |me| shop.run(me))?;
    Ok(())
}

#[rustfmt::skip]
fn functions(node: Node) {
    node.register_function("math", "add", |_me, (a, b): (i64, i64)| async move { Ok(a + b) });
}

#[rustfmt::skip]
async fn other_nodes(me: Process, limit: Duration) -> ProcessResult {
    let release: String = me.rpc("erl@127.0.0.1", "erlang", "system_info", (Atom::from_static("otp_release"),), limit).await?;
    let (pid, monitor) = me.spawn_monitor_at("erl@127.0.0.1", "timer", "sleep", (1000,)).await?;
    let _ = (release, pid, monitor);
    Ok(())
}

#[rustfmt::skip]
fn tuning(node: Node) -> Result<(), Box<dyn Error>> {
    use krarup::sockets::Profile;
    use krarup::sockets::option::{OptionName, SocketOption};

    node.setopts("erl@127.0.0.1", &[SocketOption::Sndbuf(1 << 20)]).wait()?;
    node.setopts("new", &Profile::Wan.settings()).wait()?;
    let seen = node.getopts("erl@127.0.0.1", &[OptionName::Sndbuf]).wait()?;
    let _ = seen;
    Ok(())
}

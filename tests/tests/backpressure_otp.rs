//! Two Krarup processes that wait for each other's full mailboxes, and an Erlang node that pings,
//! monitors and kills them meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::term::Atom;
use krarup::{Cookie, MailboxLimits, Node, Overflow, Process};
use krarup_tests::{Lab, Release, for_each_release, until};

const SOON: Duration = Duration::from_secs(20);

/// Ticks go out every half second, and a silent peer is dead after two.
const TICK_TIME: Duration = Duration::from_secs(2);

for_each_release!(kill_monitors_pings_and_ticks_pass_full_mailboxes);

fn node(lab: &Lab, name: &str) -> Node {
    Node::builder(name)
        .cookie(Cookie::new("c").expect("a cookie"))
        .epmd(EpmdMode::External)
        .epmd_port(lab.epmd_port())
        .net_ticktime(TICK_TIME)
        .start()
        .expect("the node starts")
}

/// A process that tells the Erlang node who it is, then sends for ever and reads nothing.
fn start_both(node: &Node, other: &str, watcher: &str, sent: &Arc<AtomicU64>) {
    let (other, watcher, sent) = (other.to_owned(), watcher.to_owned(), Arc::clone(sent));
    let run = move |me: Process| async move {
        me.set_mailbox_limits(MailboxLimits { bytes_max: 100_000, overflow: Overflow::Hold });
        me.send(("watcher", watcher.as_str()), &(Atom::from_static("i_am"), me.pid())).await?;
        loop {
            me.send_bytes(("both", other.as_str()), &[7; 1000]).await?;
            sent.fetch_add(1, Ordering::SeqCst);
        }
    };
    node.spawn_on(0, Some("both"), run).wait().expect("a process");
}

fn kill_monitors_pings_and_ticks_pass_full_mailboxes(release: Release) {
    let lab = Lab::new();
    let (a, b) = (node(&lab, "a@127.0.0.1"), node(&lab, "b@127.0.0.1"));
    let mut otp = lab.otp(release, "e").start();
    assert_eq!(otp.eval("register(watcher, self())."), "true");
    let sent = Arc::new(AtomicU64::new(0));
    start_both(&a, "b@127.0.0.1", otp.name(), &sent);
    start_both(&b, "a@127.0.0.1", otp.name(), &sent);
    let watch = "[begin {i_am, P} = krarup_peer:next(5000), {P, monitor(process, P)} end \
                 || _ <- [1, 2]], length(Ps).";
    assert_eq!(otp.eval(&format!("Ps = {watch}")), "2");
    let mut before = 0;
    until("both wait", SOON, || {
        let now = sent.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        (std::mem::replace(&mut before, now) == now && now > 200).then_some(())
    });
    // Longer than the tick time: the ticks pass, on all three connections.
    let end = Instant::now() + 2 * TICK_TIME;
    while Instant::now() < end {
        for name in ["a@127.0.0.1", "b@127.0.0.1"] {
            assert_eq!(otp.eval(&format!("net_adm:ping('{name}').")), "pong");
        }
        assert!(a.ping("b@127.0.0.1", SOON).wait() && b.ping("a@127.0.0.1", SOON).wait());
        assert_eq!(otp.eval("krarup_peer:next(100)."), "timeout", "no monitor fires");
    }
    let stood_at = sent.load(Ordering::SeqCst);
    assert_eq!(stood_at, before, "both still wait");
    // The first is killed although its mailbox is full. The other may send then, to nobody.
    let killed = "{P1, R1} = hd(Ps), exit(P1, kill), {'DOWN', R, process, P1, Why} = \
                  krarup_peer:next(5000), {R =:= R1, Why}.";
    assert_eq!(otp.eval(killed), "{true,killed}");
    until("the other goes on", SOON, || (sent.load(Ordering::SeqCst) > stood_at).then_some(()));
    let killed = "{P2, R2} = lists:last(Ps), exit(P2, kill), {'DOWN', Q, process, P2, Too} = \
                  krarup_peer:next(5000), {Q =:= R2, Too}.";
    assert_eq!(otp.eval(killed), "{true,killed}");
    for node in [a, b] {
        node.stop().wait();
    }
}

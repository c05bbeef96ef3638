//! What a node gives back when a connection ends. Alone in its process, whose descriptors it counts.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::{Cookie, Node, Process};

const PATIENCE: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 20;

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a directory").count()
}

#[test]
fn processes_that_sent_over_a_link_do_not_keep_its_socket() {
    for fabric in [true, false] {
        let epmd = free_port();
        let start = |name: &str| {
            let cookie = Cookie::new("secret").expect("a cookie");
            let builder = Node::builder(name).cookie(cookie).shards(1).fabric(fabric);
            let node = builder.epmd(EpmdMode::Auto).epmd_port(epmd).start();
            node.expect("the node starts")
        };
        let (a, b) = (start("a@127.0.0.1"), start("b@127.0.0.1"));
        let listens = |mut me: Process| async move {
            loop {
                me.recv().await?;
            }
        };
        let to = b.spawn_on(0, None, listens).wait().expect("a process");
        let before = descriptors();
        for _ in 0..CONNECTIONS {
            let (told, heard) = mpsc::channel();
            let to = to.clone();
            let sends_once = move |mut me: Process| async move {
                me.send(to, &1).await?;
                told.send(())?;
                loop {
                    me.recv().await?;
                }
            };
            a.spawn_on(0, None, sends_once).wait().expect("a process");
            heard.recv_timeout(PATIENCE).expect("sent");
            a.disconnect("b@127.0.0.1").wait();
        }
        let started = Instant::now();
        while descriptors() > before + CONNECTIONS / 4 {
            assert!(started.elapsed() < PATIENCE, "{} of {before}", descriptors());
            std::thread::sleep(Duration::from_millis(1));
        }
        a.stop().wait();
        b.stop().wait();
    }
}

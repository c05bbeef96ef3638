//! Processes that end in the middle of something.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use krarup::epmd::EpmdMode;
use krarup::term::Pid;
use krarup::{Cookie, MailboxLimits, Node, Overflow, Process};

const PATIENCE: Duration = Duration::from_secs(10);

fn node(name: &str) -> Node {
    let cookie = Cookie::new("secret").expect("a cookie");
    let node = Node::builder(format!("{name}@127.0.0.1")).cookie(cookie).shards(1);
    node.epmd(EpmdMode::None).start().expect("the node starts")
}

/// A process that passes on each number it receives.
fn listener(node: &Node) -> (Pid, mpsc::Receiver<u64>) {
    let (told, heard) = mpsc::channel();
    let run = move |mut me: Process| async move {
        loop {
            told.send(me.recv().await?.message()?)?;
        }
    };
    (node.spawn_on(0, None, run).wait().expect("a process"), heard)
}

fn until(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never is");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn processes(node: &Node) -> usize {
    node.stats().wait()[0].processes
}

fn small_mailbox() -> MailboxLimits {
    MailboxLimits { bytes_max: 1000, overflow: Overflow::Exit }
}

#[test]
fn a_process_that_is_told_to_end_in_its_last_turn_ends_once() {
    let node = node("last");
    let before = processes(&node);
    let run = |mut me: Process| async move {
        me.set_mailbox_limits(small_mailbox());
        me.recv().await?;
        for _ in 0..20 {
            me.try_send_bytes(me.pid(), &[0; 100])?;
        }
        Ok(())
    };
    let ends = node.spawn_on(0, None, run).wait().expect("a process");
    node.send(ends, &0).wait().expect("sent");
    until(|| processes(&node) == before);
    // Each has a place of its own.
    let listeners: Vec<_> = (0..3).map(|_| listener(&node)).collect();
    assert_eq!(processes(&node), before + 3);
    for (number, (pid, heard)) in (0..).zip(&listeners) {
        node.send(pid.clone(), &number).wait().expect("sent");
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(number));
    }
    node.stop().wait();
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

#[test]
fn a_panic_at_the_end_of_a_process_is_its_own() {
    let node = node("bomb");
    let before = processes(&node);
    let run = |mut me: Process| async move {
        let _bomb = Bomb;
        me.set_mailbox_limits(small_mailbox());
        std::future::pending::<()>().await;
        me.recv().await.map(drop).map_err(Into::into)
    };
    let bombs: Vec<Pid> =
        (0..2).map(|_| node.spawn_on(0, None, run).wait().expect("a process")).collect();
    let run = |mut me: Process| async move {
        let _bomb = Bomb;
        me.set_mailbox_limits(small_mailbox());
        loop {
            me.recv().await?;
        }
    };
    let waiting = node.spawn_on(0, None, run).wait().expect("a process");
    let (pid, heard) = listener(&node);
    let to = pid.clone();
    // All in one turn: several of them end, and somebody behind them has a message.
    let run = move |me: Process| async move {
        for bomb in [bombs[0].clone(), waiting, bombs[1].clone()] {
            for _ in 0..20 {
                me.try_send_bytes(bomb.clone(), &[0; 100])?;
            }
        }
        me.try_send(to, &1_u64)?;
        Ok(())
    };
    node.spawn_on(0, None, run).wait().expect("a process");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(1));
    node.send(pid, &2_u64).wait().expect("sent");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(2));
    until(|| processes(&node) == before + 1);
    node.stop().wait();
}

//! What a message between two processes of one shard costs, from the sender to its receiver's
//! mailbox and out of it: `cargo bench -p krarup --bench mailbox`.
//!
//! A process sends to itself, so that nothing is in the count but the way into its mailbox and out
//! of it. "one by one" is what an answer finds, an empty mailbox; "100 at once" a busy one.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use krarup::term::Pid;
use krarup::{Node, Process, SendError};

/// Messages of one turn of the loop.
const TURN: usize = 100;

const PAYLOAD: [u8; 16] = [7; 16];

type Send = fn(&Process, &Pid) -> Result<(), SendError>;

const SENDS: [(&str, Send); 2] = [
    ("raw 16 B", |me, to| me.try_send_bytes(to, &PAYLOAD)),
    ("term of 3", |me, to| me.try_send(to, &(1_u64, 2_u64, "three"))),
];

/// Sends and receives so many messages, in batches.
fn turn(me: &mut Process, pid: &Pid, send: Send, batch: usize) {
    for _ in 0..TURN / batch {
        for _ in 0..batch {
            send(me, pid).expect("room");
        }
        for _ in 0..batch {
            black_box(me.try_recv()).expect("a message");
        }
    }
}

/// Runs turns in a process of their own and gives the time that they took.
fn measure(node: &Node, send: Send, batch: usize, turns: u64) -> Duration {
    let (done, time) = mpsc::channel();
    let run = move |mut me: Process| async move {
        let pid = me.pid();
        turn(&mut me, &pid, send, batch);
        let start = Instant::now();
        for _ in 0..turns {
            turn(&mut me, &pid, send, batch);
        }
        done.send(start.elapsed())?;
        Ok(())
    };
    node.spawn_on(0, None, run).wait().expect("a process");
    time.recv().expect("a time")
}

fn mailbox(c: &mut Criterion) {
    let node = Node::anonymous().shards(1).start().expect("a node");
    let mut group = c.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(TURN as u64));
    for (name, send) in SENDS {
        for (way, batch) in [("one by one", 1), ("100 at once", 100)] {
            group.bench_function(BenchmarkId::new(name, way), |bencher| {
                bencher.iter_custom(|turns| measure(&node, send, batch, turns));
            });
        }
    }
    group.finish();
    node.stop().wait();
}

criterion_group!(benches, mailbox);
criterion_main!(benches);

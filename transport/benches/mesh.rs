//! What a message between two shards costs: `cargo bench -p krarup-transport --bench mesh`.
//!
//! One thread pushes and drains, so that no cache line changes its core: these are the instructions
//! alone. `krarup-bench` measures shards on cores of their own.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use krarup_transport::shard::{MeshConfig, Seat, ShardId, mesh};

/// Messages of one batch: less than a queue has room for.
const BATCH: u64 = 256;

/// About as large as what a node's shards tell each other.
type Message = [u64; 8];

type Push = fn(&mut Seat<Message>, ShardId, Message);

const PUSHES: [(&str, Push); 2] = [
    ("data", |seat, to, message| seat.push(to, message).expect("room")),
    ("control", |seat, to, message| seat.push_control(to, message).expect("room")),
];

/// From the first shard to the last one, of so many.
fn push_and_drain(c: &mut Criterion) {
    let mut group = c.benchmark_group("mesh");
    group.throughput(Throughput::Elements(BATCH));
    for (name, push) in PUSHES {
        for shards in [2, 16] {
            let mut seats = mesh::<Message>(shards, &MeshConfig::default()).seats;
            let [from, .., to] = &mut seats[..] else { unreachable!("two seats at least") };
            group.bench_function(BenchmarkId::new(name, shards), |b| {
                b.iter(|| {
                    for i in 0..BATCH {
                        push(from, to.id(), black_box([i; 8]));
                    }
                    to.drain(BATCH as usize, |from, message| {
                        black_box((from, message));
                    })
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, push_and_drain);
criterion_main!(benches);

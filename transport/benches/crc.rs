//! What the checksums of a lane's frames cost: `cargo bench -p krarup-transport --bench crc
//! --no-default-features`.
//!
//! Frames are received with and without checksums; "crc32" is the sum alone, over as many bytes.

// The function that criterion_group! makes cannot have a comment.
#![allow(missing_docs)]

#[path = "support/lanes.rs"]
mod lanes;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lanes::{SENDS, ends};

/// Bytes of payload in one turn of the loop.
const TURN_BYTES: usize = 128 << 10;

fn checksum(c: &mut Criterion) {
    let [(_, send_raw), _] = SENDS;
    for bytes in [16, 256, 4096, 64 << 10] {
        let mut group = c.benchmark_group(format!("frames of {bytes} B"));
        group.throughput(Throughput::Bytes(TURN_BYTES as u64));
        let payload = vec![7; bytes];
        for (name, checksum) in [("without checksum", false), ("with checksum", true)] {
            let [mut a, mut b] = ends(checksum);
            for _ in 0..TURN_BYTES / bytes {
                send_raw(&mut a.lane, &payload);
            }
            let mut wire = Vec::new();
            a.write_all(|bytes| wire.extend_from_slice(bytes));
            let mut runs = Vec::with_capacity(64);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    b.read(black_box(&wire), &mut runs);
                    runs.clear();
                });
            });
        }
        group.bench_function("crc32", |bencher| {
            bencher.iter(|| {
                for _ in 0..TURN_BYTES / bytes {
                    let mut hasher = crc32fast::Hasher::new();
                    hasher.update(black_box(&payload));
                    black_box(hasher.finalize());
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, checksum);
criterion_main!(benches);

//! What the fuzz targets do with their input, as plain functions.
//!
//! `tests/fuzz` hands them random bytes; the test `fuzz_corpus` hands them the corpus, so that
//! every input that once told something is tried by each plain `cargo test`.

use std::path::Path;

pub mod control;
pub mod epmd;
pub mod fabric;
pub mod fragments;
pub mod frame;
pub mod handshake;
pub mod hosts;
pub mod lane;
pub mod term;

/// Runs a target's body on every file of its corpus; gives how many there were.
///
/// # Panics
///
/// When the corpus cannot be read, or the body finds a fault.
pub fn replay(target: &str, body: impl Fn(&[u8])) -> usize {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("no corpus in {}: {error}", corpus.display()));
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    files.sort();
    for file in &files {
        println!("{}", file.display());
        body(&std::fs::read(file).expect("a file of the corpus"));
    }
    files.len()
}

//! Any bytes as a term and as text.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| krarup_tests::fuzz::term::run(data));

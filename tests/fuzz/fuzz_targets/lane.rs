#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| krarup_tests::fuzz::lane::run(input));

//! Any bytes as a file of terms, as `.hosts.erlang` is one.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| krarup_tests::fuzz::hosts::run(data));

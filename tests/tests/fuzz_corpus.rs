//! Every input that a fuzz target keeps, tried again.

use krarup_tests::fuzz;

#[test]
fn epmd() {
    assert!(fuzz::replay("epmd", fuzz::epmd::run) > 0);
}

#[test]
fn fabric() {
    assert!(fuzz::replay("fabric", fuzz::fabric::run) > 0);
}

#[test]
fn handshake() {
    assert!(fuzz::replay("handshake", fuzz::handshake::run) > 0);
}

#[test]
fn hosts() {
    assert!(fuzz::replay("hosts", fuzz::hosts::run) > 0);
}

#[test]
fn control() {
    assert!(fuzz::replay("control", fuzz::control::run) > 0);
}

#[test]
fn fragments() {
    assert!(fuzz::replay("fragments", fuzz::fragments::run) > 0);
}

#[test]
fn frame() {
    assert!(fuzz::replay("frame", fuzz::frame::run) > 0);
}

#[test]
fn lane() {
    assert!(fuzz::replay("lane", fuzz::lane::run) > 0);
}

#[test]
fn term() {
    assert!(fuzz::replay("term", fuzz::term::run) > 0);
}

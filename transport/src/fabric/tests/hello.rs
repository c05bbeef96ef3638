//! What hellos may say, and what two of them lead to.

use super::super::hello::Agreed;
use super::*;

fn agreed(role: Role, ours: &Hello, theirs: &Hello) -> Agreement {
    match agree(role, ours, theirs) {
        Agreed::Session(agreement) => *agreement,
        Agreed::Plain => panic!("no common version"),
    }
}

fn body(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    bytes.split_off(4)
}

/// Whatever a hello says, both sides have to come to the same.
fn check_both(initiator: &Hello, acceptor: &Hello) -> Agreement {
    let here = agreed(Role::Initiator, initiator, acceptor);
    let there = agreed(Role::Acceptor, acceptor, initiator);
    assert_eq!(here.session, there.session);
    assert_eq!(
        (here.version, here.lanes, here.checksum),
        (there.version, there.lanes, there.checksum)
    );
    assert_eq!((here.same_host, here.resumable), (there.same_host, there.resumable));
    assert!(here.joins().eq(there.joins()));
    here
}

#[test]
fn both_sides_come_to_the_same() {
    let variants = |half| {
        let tcp = tcp_hello(half);
        let unix = unix_hello(half);
        let mut hellos = vec![tcp.clone(), unix.clone()];
        hellos.push(Hello { shards: 1, ..tcp.clone() });
        hellos.push(Hello { shards: 200, lanes_max: 255, ..tcp.clone() });
        hellos.push(Hello { lanes_max: 2, asks_checksum: true, ..unix.clone() });
        hellos.push(Hello { port: 0, ..tcp.clone() });
        hellos.push(Hello { unix_name: vec![], ..unix.clone() });
        hellos.push(Hello { port: 0, ..unix });
        hellos.push(Hello { versions: 1..=9, frame_bytes_max: 1 << 20, ..tcp });
        hellos
    };
    for initiator in variants(1) {
        for acceptor in variants(2) {
            let agreement = check_both(&initiator, &acceptor);
            assert!((1..=LANES_MAX).contains(&agreement.lanes));
            let versions = [initiator.versions.end(), acceptor.versions.end()];
            assert_eq!(Some(&&agreement.version), versions.iter().min());
        }
    }
}

#[test]
fn lanes_are_as_many_as_the_larger_side_has_shards_within_both_limits() {
    let ours = tcp_hello(1);
    assert_eq!(check_both(&ours, &tcp_hello(2)).lanes, 4);
    assert_eq!(check_both(&ours, &Hello { shards: 1, ..tcp_hello(2) }).lanes, 4);
    assert_eq!(check_both(&ours, &Hello { shards: 64, ..tcp_hello(2) }).lanes, 8);
    assert_eq!(check_both(&ours, &Hello { lanes_max: 3, ..tcp_hello(2) }).lanes, 3);
    let joins: Vec<_> = check_both(&ours, &tcp_hello(2)).joins().collect();
    assert_eq!(joins, [LaneId(1), LaneId(2), LaneId(3)]);
}

#[test]
fn only_the_acceptors_socket_counts() {
    let silent = Hello { unix_name: vec![], ..unix_hello(1) };
    let agreement = check_both(&silent, &unix_hello(2));
    assert!(agreement.same_host);
    assert_eq!(agreement.joins().next(), Some(LaneId(0)));
    assert_eq!(agreement.peer_unix, b"krarup/2");
    assert!(!check_both(&unix_hello(2), &silent).same_host);
    assert!(!check_both(&unix_hello(1), &tcp_hello(2)).same_host);
    let elsewhere = Hello { host: HostId([7; 16]), ..unix_hello(2) };
    assert!(!check_both(&unix_hello(1), &elsewhere).same_host);
    let unknown = |half| Hello { host: HostId::UNKNOWN, ..unix_hello(half) };
    assert!(!check_both(&unknown(1), &unknown(2)).same_host);
}

#[test]
fn without_a_place_to_join_there_is_one_lane_that_cannot_be_resumed() {
    let deaf = Hello { port: 0, ..tcp_hello(2) };
    let agreement = check_both(&tcp_hello(1), &deaf);
    assert_eq!((agreement.lanes, agreement.resumable), (1, false));
    assert!(check_both(&deaf, &tcp_hello(1)).resumable);
}

#[test]
fn one_wish_for_checksums_is_enough() {
    let asking = Hello { asks_checksum: true, ..tcp_hello(2) };
    assert!(check_both(&tcp_hello(1), &asking).checksum);
    assert!(check_both(&asking, &tcp_hello(1)).checksum);
    assert!(!check_both(&tcp_hello(1), &tcp_hello(2)).checksum);
}

#[test]
fn without_a_common_version_the_link_is_plain() {
    let later = Hello { versions: 2..=3, ..tcp_hello(2) };
    assert_eq!(agree(Role::Initiator, &tcp_hello(1), &later), Agreed::Plain);
    assert_eq!(agree(Role::Acceptor, &later, &tcp_hello(1)), Agreed::Plain);
    let both = Hello { versions: 1..=7, ..tcp_hello(1) };
    assert_eq!(agreed(Role::Initiator, &both, &later).version, 3);
}

#[test]
fn bytes_and_wishes_of_later_versions_are_passed_over() {
    let hello = unix_hello(1);
    let mut body = body(&hello);
    body[7] |= 0xfe;
    body.extend_from_slice(&[0xff; 100]);
    assert_eq!(Hello::decode(&body), Ok(hello));
}

#[test]
fn fields_without_sense_are_refused() {
    let good = body(&tcp_hello(1));
    let cases: [(usize, &[u8], &str); 7] = [
        (2, &[0], "version_min"),
        (2, &[9], "version_min"),
        (4, &[0, 0], "shards"),
        (6, &[0], "lanes_max"),
        (8, &[0xff, 0xff, 0, 0], "frame_max"),
        (46, &[108], "unix_len"),
        (46, &[255], "unix_len"),
    ];
    for (offset, bytes, name) in cases {
        let mut body = good.clone();
        body[offset..offset + bytes.len()].copy_from_slice(bytes);
        let Err(FabricError::Message { error: MalformedMessage::BadField { field, .. }, .. }) =
            Hello::decode(&body)
        else {
            panic!("{name} {bytes:?}");
        };
        assert_eq!(field, name);
    }
    for length in 0..good.len() {
        assert!(Hello::decode(&good[..length]).is_err(), "{length} bytes");
    }
    let mut promised = good;
    promised[46] = 1;
    assert!(Hello::decode(&promised).is_err());
}

#[test]
fn a_host_is_its_boot_and_its_network() {
    let boot = "0f7d0c5c-6f0e-4f2b-8f7c-4c9b6e1f2a3d";
    let host = HostId::new(boot, 1);
    assert_eq!(host, HostId::new(&format!("{boot}\n"), 1));
    assert_ne!(host, HostId::new(boot, 2));
    assert_ne!(host, HostId::new("1f7d0c5c-6f0e-4f2b-8f7c-4c9b6e1f2a3d", 1));
    assert_ne!(host, HostId::UNKNOWN);
}

#[test]
fn a_session_is_not_printed_whole() {
    let session = SessionId::new([0xab; 16], [0xcd; 16]);
    assert_eq!(format!("{session:?}"), "SessionId(abababab…)");
}

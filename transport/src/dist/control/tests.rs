use proptest::prelude::*;

use super::*;
use crate::handshake::Flags;
use crate::term::{Creation, Limits, write_integer, write_tuple_header};

const ALL: Flags = Flags::HIDDEN;

fn atom(text: &str) -> Atom {
    Atom::new(text).expect("short enough")
}

fn pid(node: &str) -> Pid {
    Pid { node: atom(node), id: 100, serial: 1, creation: Creation(9) }
}

fn reference(node: &str) -> Reference {
    Reference::new(atom(node), Creation(9), &[1, 2, 3, 4, 5]).expect("five words")
}

/// Decodes at the node `local`, connected to `peer`.
fn decode(bytes: &[u8]) -> Result<Control, ControlError> {
    let (local, peer) = (atom("local"), atom("peer"));
    let names = Names { local: &local, peer: &peer };
    Control::decode(bytes, &[], names, &Limits::DEFAULT).map(|decoded| decoded.control)
}

/// Encodes in the form of `flags`, with a reason inside if it belongs there.
fn encode(control: &Control, flags: Flags) -> Vec<u8> {
    let mut bytes = Vec::new();
    let place = control.encode(flags, &mut ControlWriter::new(&mut bytes, None)).unwrap();
    if place == PayloadPlace::Inside {
        bytes.extend_from_slice(b"w\x06normal");
    }
    bytes
}

/// One of every kind, from `peer` to `local`.
fn every_control() -> Vec<Control> {
    let from = || pid("peer");
    let to = || pid("local");
    let mut all = vec![
        Control::Link { from: from(), to: to() },
        Control::Unlink { id: u64::MAX, from: from(), to: to() },
        Control::UnlinkAck { id: 1, from: from(), to: to() },
        Control::GroupLeader { leader: from(), to: to() },
    ];
    for token in [None, Some(Box::new(Term::Tuple(vec![Term::Integer(1)])))] {
        all.push(Control::Exit { from: from(), to: to(), token: token.clone() });
        for priority in [false, true] {
            for to in [
                Destination::Process(to()),
                Destination::Name(atom("name")),
                Destination::Alias(reference("local")),
            ] {
                let token = token.clone();
                let (from, plain) = (from(), matches!(to, Destination::Process(_)));
                let send = Control::Send {
                    from: Some(from.clone()),
                    to: to.clone(),
                    priority,
                    token: token.clone(),
                };
                all.push(send);
                if priority || plain {
                    all.push(Control::Exit2 { from, to, priority, token });
                }
            }
        }
        let options = vec![
            SpawnOption::Link(None),
            SpawnOption::Monitor(Some(Term::List(vec![]))),
            SpawnOption::Setting { name: atom("priority"), value: Term::Atom(atom("high")) },
            SpawnOption::Unknown(Term::Tuple(vec![Term::Atom(atom("reply")), Term::Integer(1)])),
        ];
        all.push(Control::SpawnRequest(Box::new(SpawnRequest {
            reference: reference("peer"),
            from: from(),
            group_leader: from(),
            module: atom("m"),
            function: atom("f"),
            arity: 3,
            options,
            token: token.clone(),
        })));
        for result in [Ok(pid("peer")), Err(atom("badopt"))] {
            all.push(Control::SpawnReply(Box::new(SpawnReply {
                reference: reference("local"),
                to: to(),
                flags: SPAWN_FLAG_LINK | SPAWN_FLAG_MONITOR,
                result,
                token: token.clone(),
            })));
        }
    }
    for of_process in [false, true] {
        let name = |pid| {
            if of_process { ProcessOrName::Process(pid) } else { ProcessOrName::Name(atom("n")) }
        };
        all.push(Control::Monitor { from: from(), to: name(to()), reference: reference("peer") });
        all.push(Control::Demonitor { from: from(), to: name(to()), reference: reference("peer") });
        let reference = reference("local");
        all.push(Control::MonitorExit { from: name(from()), to: to(), reference });
    }
    all
}

#[test]
fn every_kind_comes_back_equal() {
    for control in every_control() {
        assert_eq!(decode(&encode(&control, ALL)), Ok(control));
    }
}

#[test]
fn old_peers_get_old_forms_that_mean_the_same() {
    let old =
        ALL.without(Flags::EXIT_PAYLOAD).without(Flags::SEND_SENDER).without(Flags::ALTACT_SIG);
    let mut operations = std::collections::BTreeSet::new();
    for control in every_control() {
        let mut bytes = Vec::new();
        let Ok(place) = control.encode(old, &mut ControlWriter::new(&mut bytes, None)) else {
            let Control::Exit2 { to, .. } = &control else { panic!("{control:?}") };
            assert!(!matches!(to, Destination::Process(_)));
            assert!(bytes.is_empty());
            continue;
        };
        if place == PayloadPlace::Inside {
            bytes.extend_from_slice(b"w\x06normal");
        }
        operations.insert(bytes[3]);
        let expected = match control {
            Control::Send { from, to, token, .. } => {
                let from = if matches!(to, Destination::Process(_)) { None } else { from };
                Control::Send { from, to, priority: false, token }
            }
            Control::Exit2 { from, to, token, .. } => {
                Control::Exit2 { from, to, priority: false, token }
            }
            other => other,
        };
        assert_eq!(decode(&bytes), Ok(expected));
    }
    let expected = [1, 2, 3, 6, 7, 8, 12, 13, 16, 18, 19, 20, 21, 29, 30, 31, 32, 33, 34, 35, 36];
    assert!(operations.iter().eq(&expected), "{operations:?}");
}

#[test]
fn new_peers_get_the_new_forms() {
    let operations: std::collections::BTreeSet<_> =
        every_control().iter().map(|control| encode(control, ALL)[3]).collect();
    let expected = [1, 6, 7, 16, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 35, 36, 37];
    assert!(operations.iter().eq(&expected), "{operations:?}");
}

#[test]
fn signals_the_peer_does_not_know_are_refused_by_name() {
    let refused = |control: &Control, flags: Flags| {
        let mut bytes = Vec::new();
        let error = control.encode(flags, &mut ControlWriter::new(&mut bytes, None)).unwrap_err();
        assert!(bytes.is_empty());
        error.flag
    };
    let bare = Flags::MANDATORY_25;
    let flag_of = |control: &Control| refused(control, bare);
    for control in every_control() {
        let expected = match &control {
            Control::Unlink { .. } | Control::UnlinkAck { .. } => "UNLINK_ID",
            Control::Monitor { .. } | Control::Demonitor { .. } => {
                "DIST_MONITOR and DIST_MONITOR_NAME"
            }
            Control::MonitorExit { .. } => "DIST_MONITOR",
            Control::SpawnRequest(_) | Control::SpawnReply(_) => "SPAWN",
            Control::Send { to: Destination::Alias(_), .. } => "ALIAS",
            Control::Exit2 { to: Destination::Name(_) | Destination::Alias(_), .. } => "ALTACT_SIG",
            _ => continue,
        };
        assert_eq!(flag_of(&control), expected);
    }
}

#[test]
fn identifiers_of_the_wrong_node_are_refused() {
    let (us, them, third) = (pid("local"), pid("peer"), pid("third"));
    let wrong = [
        Control::Link { from: third.clone(), to: us.clone() },
        Control::Link { from: them.clone(), to: third.clone() },
        Control::Unlink { id: 1, from: third.clone(), to: us.clone() },
        Control::UnlinkAck { id: 1, from: third.clone(), to: us.clone() },
        Control::Exit { from: third.clone(), to: us.clone(), token: None },
        Control::Exit { from: them.clone(), to: third.clone(), token: None },
        Control::Exit2 {
            from: third.clone(),
            to: Destination::Process(us.clone()),
            priority: false,
            token: None,
        },
        Control::Monitor {
            from: third.clone(),
            to: ProcessOrName::Name(atom("n")),
            reference: reference("peer"),
        },
        Control::Monitor {
            from: them.clone(),
            to: ProcessOrName::Process(third.clone()),
            reference: reference("peer"),
        },
        Control::MonitorExit {
            from: ProcessOrName::Process(us.clone()),
            to: us.clone(),
            reference: reference("local"),
        },
        Control::MonitorExit {
            from: ProcessOrName::Process(them.clone()),
            to: third.clone(),
            reference: reference("local"),
        },
    ];
    for control in wrong {
        let error = decode(&encode(&control, ALL)).unwrap_err();
        assert!(matches!(error, ControlError::ForeignNode { .. }), "{control:?}: {error}");
    }
    // A message may be from anybody and for anybody: it is dropped if it is not for us.
    let message = Control::Send {
        from: Some(third.clone()),
        to: Destination::Process(third),
        priority: false,
        token: None,
    };
    assert_eq!(decode(&encode(&message, ALL)), Ok(message));
}

#[test]
fn malformed_control_messages() {
    let tuple = |numbers: &[i64]| {
        let mut bytes = Vec::new();
        write_tuple_header(&mut bytes, numbers.len());
        for number in numbers {
            write_integer(&mut bytes, *number);
        }
        bytes
    };
    assert!(matches!(decode(&[]), Err(ControlError::Term(_))));
    assert!(matches!(decode(&[97, 22]), Err(ControlError::Term(_))));
    assert!(matches!(decode(&tuple(&[-1])), Err(ControlError::Term(_))));
    assert_eq!(decode(&tuple(&[])), Err(ControlError::Arity { operation: 0, came: 0 }));
    assert_eq!(decode(&tuple(&[22, 1])), Err(ControlError::Arity { operation: 22, came: 2 }));
    assert_eq!(decode(&tuple(&[4, 1, 1])), Err(ControlError::Obsolete { operation: 4 }));
    assert_eq!(decode(&tuple(&[5])), Err(ControlError::Obsolete { operation: 5 }));
    for operation in [0, 9, 10, 11, 14, 15, 17, 38, 255, 256, 1 << 40] {
        let error = decode(&tuple(&[operation, 1, 1]));
        assert_eq!(error, Err(ControlError::UnknownOperation { operation: operation as u64 }));
    }
    let mut unlink = encode(&Control::Unlink { id: 1, from: pid("peer"), to: pid("local") }, ALL);
    unlink[5] = 0;
    assert!(matches!(decode(&unlink), Err(ControlError::Invalid { .. })));
}

#[test]
fn a_trace_token_cannot_fill_the_memory() {
    let mut bytes = vec![104, 4, 97, op::SEND_SENDER_TT];
    crate::term::write_pid(&mut bytes, &pid("peer"));
    crate::term::write_pid(&mut bytes, &pid("local"));
    let len = 1_000_000_u32;
    bytes.push(108);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.resize(bytes.len() + len as usize + 1, 106);
    let error = decode(&bytes).unwrap_err();
    assert!(matches!(&error, ControlError::Term(error) if error.is_limit()), "{error}");
}

#[test]
fn op_37_may_be_longer_and_its_flags_of_any_size() {
    let pid_of = |node: &str, out: &mut Vec<u8>| crate::term::write_pid(out, &pid(node));
    let expected = Control::Send {
        from: Some(pid("peer")),
        to: Destination::Process(pid("local")),
        priority: true,
        token: None,
    };
    let flags: [&[u8]; 4] =
        [&[97, 1], &[98, 0, 0, 1, 1], &[110, 2, 0, 1, 1], &[111, 0, 0, 0, 1, 0, 1]];
    for flags in flags {
        let mut bytes = vec![104, 6, 97, 37];
        bytes.extend_from_slice(flags);
        pid_of("peer", &mut bytes);
        pid_of("local", &mut bytes);
        bytes.extend_from_slice(&[106, 97, 1]);
        assert_eq!(decode(&bytes).as_ref(), Ok(&expected), "{flags:?}");
    }
    let wrong: [&[u8]; 4] = [&[98, 255, 255, 255, 255], &[110, 1, 1, 1], &[106], &[97, 12]];
    for flags in wrong {
        let mut bytes = vec![104, 4, 97, 37];
        bytes.extend_from_slice(flags);
        pid_of("peer", &mut bytes);
        pid_of("local", &mut bytes);
        assert!(matches!(decode(&bytes), Err(ControlError::Invalid { .. })), "{flags:?}");
    }
    let mut bytes = vec![104, 4, 97, 37, 97, 2];
    pid_of("peer", &mut bytes);
    pid_of("local", &mut bytes);
    assert_eq!(decode(&bytes), Err(ControlError::Arity { operation: 37, came: 4 }));
}

proptest! {
    /// Bytes near a control message: an error or a control message, never a panic.
    #[test]
    fn any_change_is_an_error_or_a_control_message(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = every_control();
        let mut bytes = encode(which.get(&all), ALL);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(decode(&bytes).is_err() || bytes.len() > 10);
    }
}

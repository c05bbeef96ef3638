//! `sink`: counts messages and their bytes.
//!
//! `{From, report}` is answered by `{sink, Count, Bytes}`, `{From, reset}` by `ok` and a count from
//! zero. Bytes are those of the external term with its version byte (`erlang:external_size/1`).

use krarup_transport::term::{Atom, Pid, Term};

use crate::node::Encoded;
use crate::process::{Message, Process, ProcessResult, Signal};

enum Question {
    Report(Pid),
    Reset(Pid),
}

pub(super) async fn run(mut me: Process) -> ProcessResult {
    me.trap_exit(true);
    let (mut count, mut bytes) = (0_u64, 0_u64);
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = signal else { continue };
        match question(&message) {
            Some(Question::Report(from)) => {
                let sink = Term::Atom(Atom::from_static("sink"));
                let report = Term::Tuple(vec![sink, Term::from(count), Term::from(bytes)]);
                let _ = me.send_encoded(from, Encoded::term(&report)).await;
            }
            Some(Question::Reset(from)) => {
                (count, bytes) = (0, 0);
                let ok = Term::Atom(Atom::from_static("ok"));
                let _ = me.send_encoded(from, Encoded::term(&ok)).await;
            }
            None => {
                count += 1;
                bytes += external_size(&message);
            }
        }
    }
    Ok(())
}

/// The longest pair of a pid and an atom, in any encoding of the node's name.
const QUESTION_BYTES_MAX: usize = 1100;

fn question(message: &Message) -> Option<Question> {
    if message.is_raw()
        || message.size_bytes() > QUESTION_BYTES_MAX
        || message.bytes().first_chunk() != Some(&[104, 2])
    {
        return None;
    }
    let Term::Tuple(parts) = message.term().ok()? else { return None };
    match <[Term; 2]>::try_from(parts).ok()? {
        [Term::Pid(from), Term::Atom(what)] => match what.as_str() {
            "report" => Some(Question::Report(from)),
            "reset" => Some(Question::Reset(from)),
            _ => None,
        },
        _ => None,
    }
}

/// Tag and length of the binary that raw bytes stand for.
const BINARY_HEAD_BYTES: u64 = 5;

/// The version byte and the term with its atoms in full.
fn external_size(message: &Message) -> u64 {
    let as_it_came = message.size_bytes() as u64 + 1;
    if message.is_raw() {
        return as_it_came + BINARY_HEAD_BYTES;
    }
    if message.atoms().is_empty() {
        return as_it_came;
    }
    let Ok(term) = message.term() else { return as_it_came };
    let mut out = Vec::with_capacity(message.size_bytes() + 64);
    term.encode(&mut out);
    out.len() as u64 + 1
}

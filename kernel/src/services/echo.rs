//! `echo`: `{From, Term}` is answered by `{echo, Term}` to `From`.

use krarup_transport::dist::Atoms;
use krarup_transport::term::{
    Atom, DecodeError, Pid, Reader, Term, read_pid, read_tuple_header, write_atom,
    write_tuple_header,
};

use crate::node::Encoded;
use crate::process::{Message, Process, ProcessResult, Signal};

pub(super) async fn run(mut me: Process) -> ProcessResult {
    // A linked client that fails must not take the service with it.
    me.trap_exit(true);
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = signal else { continue };
        if let Some((from, reply)) = reply_to(&message) {
            // A client that is gone gets nothing.
            let _ = me.send_encoded(from, reply).await;
        }
    }
    Ok(())
}

/// Whom to answer, and what; nothing for messages of another shape.
fn reply_to(message: &Message) -> Option<(Pid, Encoded)> {
    if message.is_raw() {
        return None;
    }
    if let (true, Some(part)) = (message.atoms().is_empty(), message.parts().first()) {
        // The term goes back as it came, large ones by reference.
        let (from, skip) = sender_of(part, message.atoms()).ok()??;
        let mut prefix = Vec::with_capacity(16);
        write_tuple_header(&mut prefix, 2);
        write_atom(&mut prefix, &Atom::from_static("echo"));
        return Some((from, Encoded::behind(prefix, message.parts(), skip)));
    }
    let Term::Tuple(parts) = message.term().ok()? else { return None };
    let [Term::Pid(from), term] = <[Term; 2]>::try_from(parts).ok()? else { return None };
    let echo = Term::Atom(Atom::from_static("echo"));
    Some((from, Encoded::term(&Term::Tuple(vec![echo, term]))))
}

/// The pid at the front of a pair, and how many bytes stand before the second element.
fn sender_of(bytes: &[u8], atoms: &Atoms) -> Result<Option<(Pid, usize)>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if read_tuple_header(&mut reader)? != 2 {
        return Ok(None);
    }
    let from = read_pid(&mut reader, atoms)?;
    Ok(Some((from, reader.position())))
}

//! `user`: the node's group leader, which gets what its processes print.
//!
//! OTP: the "Erlang I/O Protocol" chapter of the stdlib guide. A process that this node starts on an
//! Erlang node has this one as its group leader, and `io:format` there waits for an answer from
//! here: whatever is asked gets one.

use std::io::Write;
use std::time::Duration;

use krarup_transport::term::{Pid, Term};

use crate::atoms::{atom, is};
use crate::node::{Output, SendError};
use crate::process::{Process, ProcessResult, Signal};

/// How long another node may take to format what one of its processes prints.
const FORMAT_TIME_MAX: Duration = Duration::from_secs(30);

/// Requests within one request that may lie within each other.
const DEPTH_MAX: usize = 8;

/// Where what is printed goes.
#[derive(Clone, Debug)]
pub(super) enum Printed {
    /// Where the node's output goes.
    Here,
    /// To whoever called a function, as `{rex_stdout, Text}` (OTP: `rpc.erl`, for C nodes).
    Caller(Pid),
}

pub(super) async fn run(me: Process) -> ProcessResult {
    lead(me, Printed::Here).await
}

/// Serves as a group leader.
pub(super) async fn lead(mut me: Process, printed: Printed) -> ProcessResult {
    me.trap_exit(true);
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = signal else { continue };
        let Ok(Term::Tuple(parts)) = message.term() else { continue };
        let [label, Term::Pid(from), reply_as, request] = parts.as_slice() else { continue };
        if !is(label, "io_request") {
            continue;
        }
        let node = me.node();
        if let (Printed::Here, Some(printer)) = (&printed, node.printer()) {
            // It answers by itself.
            let _ = me.send(printer, &Term::Tuple(parts)).await;
            continue;
        }
        let (from, reply_as, request) = (from.clone(), reply_as.clone(), request.clone());
        // What another node has to format first keeps nobody else waiting: whoever prints waits for
        // the answer before it prints more.
        let printed = printed.clone();
        let served = me.spawn_link(move |me| async move {
            let answer = serve(&me, &from, &request, &printed, 0).await;
            let _ = reply(&me, &from, reply_as, answer).await;
            Ok(())
        });
        if served.is_err() {
            tracing::warn!("no process to print with");
        }
    }
    Ok(())
}

async fn reply(
    me: &Process,
    from: &Pid,
    reply_as: Term,
    answer: Result<Term, &'static str>,
) -> Result<(), SendError> {
    let answer = answer.unwrap_or_else(|why| Term::Tuple(vec![atom("error"), atom(why)]));
    me.send(from, &Term::Tuple(vec![atom("io_reply"), reply_as, answer])).await
}

/// Does what one request asks for.
async fn serve(
    me: &Process,
    from: &Pid,
    request: &Term,
    printed: &Printed,
    depth: usize,
) -> Result<Term, &'static str> {
    let parts = match request {
        Term::Tuple(parts) => parts.as_slice(),
        Term::Atom(what) if what.as_str() == "getopts" => {
            let option = |name, value| Term::Tuple(vec![atom(name), value]);
            let options = [option("binary", atom("false")), option("encoding", atom("unicode"))];
            return Ok(Term::List(options.to_vec()));
        }
        _ => return Err("request"),
    };
    match parts {
        [what, encoding, module, function, arguments] if is(what, "put_chars") => {
            let chars = format(me, from, [module, function, arguments]).await?;
            put(me, printed, &chars, is(encoding, "latin1")).await
        }
        [what, encoding, chars] if is(what, "put_chars") => {
            put(me, printed, chars, is(encoding, "latin1")).await
        }
        // Of before encodings were said.
        [what, chars] if is(what, "put_chars") => put(me, printed, chars, true).await,
        [what, Term::List(requests)] if is(what, "requests") && depth < DEPTH_MAX => {
            let mut answer = atom("ok");
            for request in requests {
                answer = Box::pin(serve(me, from, request, printed, depth + 1)).await?;
            }
            Ok(answer)
        }
        [what, ..]
            if [
                "get_chars",
                "get_line",
                "get_until",
                "get_password",
                "setopts",
                "get_geometry",
            ]
            .iter()
            .any(|known| is(what, known)) =>
        {
            Err("enotsup")
        }
        _ => Err("request"),
    }
}

/// Formats what a process prints: `io:format` sends format and arguments, to be formatted by the
/// group leader. Its own node can.
async fn format(me: &Process, from: &Pid, call: [&Term; 3]) -> Result<Term, &'static str> {
    let [Term::Atom(module), Term::Atom(function), Term::List(arguments)] = call else {
        return Err("put_chars");
    };
    let (module, function) = (module.as_str(), function.as_str());
    me.rpc(from.node.as_str(), module, function, arguments, FORMAT_TIME_MAX)
        .await
        .map_err(|_| "put_chars")
}

/// Prints characters.
async fn put(
    me: &Process,
    printed: &Printed,
    chars: &Term,
    is_latin1: bool,
) -> Result<Term, &'static str> {
    let mut text = Vec::new();
    flatten(chars, is_latin1, &mut text).ok_or("put_chars")?;
    if let Printed::Caller(caller) = printed {
        let text = Term::Binary(text.into());
        let sent = me.send(caller, &Term::Tuple(vec![atom("rex_stdout"), text])).await;
        return sent.map(|()| atom("ok")).map_err(|_| "terminated");
    }
    let output = me.node().config().output;
    // Whoever reads it may take his time.
    let write = move || match output {
        Output::Stdout => write_all(std::io::stdout().lock(), &text),
        Output::Stderr => write_all(std::io::stderr().lock(), &text),
        Output::Nowhere => {}
    };
    me.node().blocking(write).await.map_err(|_| "terminated")?;
    Ok(atom("ok"))
}

/// A reader that has gone is nobody's mistake.
fn write_all(mut out: impl Write, text: &[u8]) {
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Appends characters in UTF-8: numbers and binaries in lists of any depth (Erlang:
/// `unicode:chardata()`).
fn flatten(chars: &Term, is_latin1: bool, out: &mut Vec<u8>) -> Option<()> {
    let push = |code: u32, out: &mut Vec<u8>| {
        let character = char::from_u32(code)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Some(())
    };
    // Without recursion: the depth is the sender's choice.
    let mut stack = vec![chars];
    while let Some(chars) = stack.pop() {
        match chars {
            Term::Binary(bytes) if is_latin1 => {
                bytes.iter().try_for_each(|byte| push(u32::from(*byte), out))?;
            }
            Term::Binary(bytes) => out.extend_from_slice(bytes),
            Term::List(items) => stack.extend(items.iter().rev()),
            Term::ImproperList(items, tail) => {
                stack.push(tail);
                stack.extend(items.iter().rev());
            }
            code => push(u32::try_from(code.as_integer()?).ok()?, out)?,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_in_any_nesting() {
        let chars: Term = "[$a, [<<\"bc\">>, [[], 233]], [100 | <<\"e\">>]]".parse().unwrap();
        let mut out = Vec::new();
        assert!(flatten(&chars, false, &mut out).is_some());
        assert_eq!(String::from_utf8(out).unwrap(), "abcéde");
        let mut out = Vec::new();
        assert!(flatten(&Term::Binary(vec![0xe9].into()), true, &mut out).is_some());
        assert_eq!(out, "é".as_bytes());
        for wrong in ["[a]", "{1}", "[-1]", "[16#d800]"] {
            assert!(flatten(&wrong.parse().unwrap(), false, &mut Vec::new()).is_none(), "{wrong}");
        }
    }
}

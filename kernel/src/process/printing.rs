//! What a process prints.

use std::fmt;

use krarup_transport::term::Term;

use super::{Process, Signal};
use crate::atoms::atom;
use crate::node::Reply;

/// Why a text was not printed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PrintError {
    /// The group leader has ended, or its node cannot be reached: the reason.
    Ended(Term),
    /// It refuses (OTP: `{error, Reason}` of the I/O protocol).
    Refused(Term),
    /// The node has stopped.
    Stopped,
}

impl fmt::Display for PrintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrintError::Ended(reason) => write!(f, "the group leader is gone: {reason}"),
            PrintError::Refused(answer) => {
                write!(f, "the group leader does not print it: {answer}")
            }
            PrintError::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for PrintError {}

impl Process {
    /// Prints a text where the group leader of this process does (Erlang: `io:put_chars/1`): for a
    /// function that another node called, there.
    ///
    /// # Errors
    /// [`PrintError`].
    pub fn print(&self, text: impl Into<String>) -> Reply<Result<(), PrintError>> {
        let (done, reply) = Reply::pair(|| Err(PrintError::Stopped));
        let (leader, text) = (self.group_leader(), text.into());
        // The answer comes to a process of its own: this one's mailbox stays as it is.
        let started = self.spawn_tied(
            move |mut me| async move {
                let monitor = me.monitor(&leader);
                let text = Term::Binary(text.into_bytes().into());
                let request = Term::Tuple(vec![atom("put_chars"), atom("unicode"), text]);
                let from = Term::Pid(me.pid());
                let tag = Term::Reference(monitor);
                let request = Term::Tuple(vec![atom("io_request"), from, tag.clone(), request]);
                me.send(&leader, &request).await.ok();
                let outcome = loop {
                    match me.recv().await? {
                        Signal::Down(down) => break Err(PrintError::Ended(down.reason)),
                        Signal::Message(message) => {
                            let Ok(Term::Tuple(parts)) = message.term() else { continue };
                            match parts.as_slice() {
                                [_, reply_as, answer] if *reply_as == tag => {
                                    break if *answer == atom("ok") {
                                        Ok(())
                                    } else {
                                        Err(PrintError::Refused(answer.clone()))
                                    };
                                }
                                _ => {}
                            }
                        }
                        _ => {}
                    }
                };
                let _ = done.send(outcome);
                Ok(())
            },
            false,
        );
        // Without room for a process the sender is dropped, and the answer is known.
        drop(started);
        reply
    }
}

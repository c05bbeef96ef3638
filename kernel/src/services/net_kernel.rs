//! The process registered as `net_kernel`: what other nodes ask this one about itself.

use std::time::Duration;

use krarup_transport::term::{Atom, Term};

use crate::gen_server::Request;
use crate::net_kernel::NetTicktime;
use crate::node::NameType;
use crate::process::{Process, ProcessResult, Signal};

/// Answers `net_adm:ping/1` (`is_auth`) and the questions that OTP's `net_kernel` answers to
/// anybody. As in OTP, unknown calls get no answer.
pub(super) async fn run(mut me: Process) -> ProcessResult {
    me.trap_exit(true);
    while let Ok(signal) = me.recv().await {
        let Signal::Message(message) = signal else { continue };
        let Ok(Request::Call(caller, request)) = message.term().map(Request::of) else { continue };
        if let Some(answer) = answer(&me, &request).await {
            // An answer that cannot be delivered is for nobody any more.
            let _ = caller.reply_term(&me, &answer).await;
        }
    }
    Ok(())
}

async fn answer(me: &Process, request: &Term) -> Option<Term> {
    let atom = |text| Some(Term::Atom(Atom::from_static(text)));
    let node = me.node();
    match request {
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(question), _node] if question.as_str() == "is_auth" => atom("yes"),
            _ => None,
        },
        Term::Atom(question) => match question.as_str() {
            "longnames" => Some(Term::from(node.life()?.name_type == NameType::Long)),
            "nodename" => Some(Term::Atom(Atom::new(&node.stated_name()?).ok()?)),
            "get_state" => Some(super::functions::life::state(&node)),
            "ticktime" => {
                let milliseconds = |time: Duration| Term::from(time.as_millis() as u64);
                Some(match node.net_ticktime().await.ok()? {
                    NetTicktime::Steady(time) => milliseconds(time),
                    NetTicktime::ChangingTo(time) => Term::Tuple(vec![
                        Term::Atom(Atom::from_static("ongoing_change_to")),
                        milliseconds(time),
                    ]),
                })
            }
            _ => None,
        },
        _ => None,
    }
}

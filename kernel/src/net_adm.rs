//! Erlang's `net_adm`: ping and names.

use std::time::{Duration, Instant};

use krarup_transport::term::{Atom, Term};

use crate::node::{Encoded, Node, Reply};
use crate::process::{Process, Signal};

/// Connects to `node` if need be and asks its `net_kernel` whether it accepts us.
///
/// OTP: `net_adm:ping/1`; the question is the `gen` call `{is_auth, node()}`, the good answer
/// `yes`. True is `pong`.
pub(crate) fn ping(local: &Node, node: &str, timeout: Duration) -> Reply<bool> {
    if local.name().is_some_and(|own| own.as_str() == node) {
        return Reply::known(true);
    }
    let (Some(own), Ok(node)) = (local.name(), Atom::new(node)) else {
        return Reply::known(false);
    };
    let (done, reply) = Reply::pair(|| false);
    let started = local.spawn_on(0, None, move |mut me| async move {
        let answer = ask(&mut me, &own, &node, Instant::now() + timeout).await;
        let _ = done.send(answer.unwrap_or(false));
        Ok(())
    });
    // A node without a free process slot drops the sender, and the answer is false.
    drop(started);
    reply
}

async fn ask(me: &mut Process, own: &Atom, node: &Atom, deadline: Instant) -> Option<bool> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let connect = std::pin::pin!(me.node().connect(node.as_str()));
    let timer = std::pin::pin!(krarup_transport::io::sleep(left()));
    match futures_util::future::select(connect, timer).await {
        futures_util::future::Either::Left((Ok(()), _)) => {}
        _ => return Some(false),
    }
    me.monitor_nodes(true);
    let tag = Term::Reference(me.reference());
    let pair = |left: Term, right: Term| Term::Tuple(vec![left, right]);
    let atom = |text| Term::Atom(Atom::from_static(text));
    let from = pair(Term::Pid(me.pid()), tag.clone());
    let question = pair(atom("is_auth"), Term::Atom(own.clone()));
    let call = Encoded::term(&Term::Tuple(vec![atom("$gen_call"), from, question]));
    me.send_encoded((Atom::from_static("net_kernel"), node.clone()), call).await.ok()?;
    while !left().is_zero() {
        match me.recv_timeout(left()).await.ok()?? {
            Signal::Message(message) => {
                let Ok(Term::Tuple(answer)) = message.term() else { continue };
                if let [reference, answer] = answer.as_slice()
                    && *reference == tag
                {
                    return Some(*answer == atom("yes"));
                }
            }
            Signal::NodeDown(down) if down.node == *node => return Some(false),
            _ => {}
        }
    }
    None
}

//! `krarup_functions` in Rust: what `otp/krarup_functions.erl` is on Erlang nodes.

use krarup::term::{Pid, Term};
use krarup::{Node, Raise, Signal};

pub(crate) fn register(node: &Node) {
    const MODULE: &str = "krarup_functions";
    node.register_function(MODULE, "zero", |_, ()| async { Ok(0) });
    node.register_function(MODULE, "add", |_, (a, b): (i64, i64)| async move {
        a.checked_add(b).ok_or(Raise::error("badarith"))
    });
    node.register_function(MODULE, "give", |_, (term,): (Term,)| async move { Ok(term) });
    node.register_function(MODULE, "fail", |_, (class, reason): (Term, Term)| async move {
        let raise = match class.as_atom().map(|class| class.as_str()) {
            Some("error") => Raise::Error,
            Some("exit") => Raise::Exit,
            Some("throw") => Raise::Throw,
            _ => return Err(Raise::error("function_clause")),
        };
        Err::<(), _>(raise(reason))
    });
    node.register_function(MODULE, "say", |me, (to, term): (Pid, Term)| async move {
        let me_too = Term::Pid(me.pid());
        me.send(to, &Term::Tuple(vec![me_too, term.clone()])).await?;
        Ok(term)
    });
    node.register_function(MODULE, "await", |mut me, (from,): (Pid,)| async move {
        me.send(from, &me.pid()).await?;
        loop {
            if let Signal::Message(message) = me.recv().await? {
                return Ok(message.term()?);
            }
        }
    });
}

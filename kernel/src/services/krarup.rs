//! The server registered as `krarup`: `info` and `metrics`, by `gen_server:call`.

use krarup_transport::term::{Atom, Term};

use super::about;
use crate::gen_server::{Answer, Caller, GenServer};
use crate::process::Process;

pub(super) struct Krarup;

impl GenServer for Krarup {
    type Call = Term;
    type Reply = Term;
    type Cast = Term;

    async fn call(
        &mut self,
        me: &mut Process,
        request: Term,
        _: &Caller,
    ) -> Result<Answer<Term>, Box<dyn std::error::Error>> {
        Ok(Answer::Reply(match request.as_atom().map(Atom::as_str) {
            Some("info") => about::info(me).await,
            Some("metrics") => about::metrics(me).await,
            _ => {
                let atom = |text| Term::Atom(Atom::from_static(text));
                let unknown = Term::Tuple(vec![atom("unknown_call"), request]);
                Term::Tuple(vec![atom("error"), unknown])
            }
        }))
    }
}

//! The shapes of `gen` calls on the wire.
//!
//! OTP: `gen.erl`. A call is `{'$gen_call', {Pid, Tag}, Request}` and its answer `{Tag, Reply}`
//! with the tag exactly as it came. A tag `[alias | Ref]` (an improper list) asks for the answer to
//! go to that alias, so that a caller that gave up gets nothing late.

use krarup_transport::term::{Pid, Term};

use crate::node::{Encoded, SendError};
use crate::process::{Destination, Process};

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct GenCall {
    from: Pid,
    tag: Term,
    pub(super) request: Term,
}

impl GenCall {
    /// The call in a message, if it is one.
    pub(super) fn parse(message: Term) -> Option<Self> {
        let Term::Tuple(parts) = message else { return None };
        let [Term::Atom(label), Term::Tuple(from), request] = <[Term; 3]>::try_from(parts).ok()?
        else {
            return None;
        };
        let [Term::Pid(from), tag] = <[Term; 2]>::try_from(from).ok()? else { return None };
        (label.as_str() == "$gen_call").then_some(GenCall { from, tag, request })
    }

    /// Answers it.
    pub(super) async fn reply(self, me: &Process, answer: Term) -> Result<(), SendError> {
        let to = alias_of(&self.tag).unwrap_or(Destination::Pid(self.from));
        let reply = Encoded::term(&Term::Tuple(vec![self.tag, answer]));
        me.send_encoded(to, reply).await
    }
}

/// The alias in `[alias | Ref]` and in multi_call's `[[alias | Ref] | _]`.
fn alias_of(tag: &Term) -> Option<Destination> {
    let Term::ImproperList(head, tail) = tag else { return None };
    match (head.as_slice(), &**tail) {
        ([Term::Atom(alias)], Term::Reference(reference)) if alias.as_str() == "alias" => {
            Some(Destination::Alias(reference.clone()))
        }
        ([inner], _) => alias_of(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use krarup_transport::term::{Atom, Creation, Reference};

    use super::*;

    fn reference() -> Reference {
        Reference::new(Atom::from_static("a@h"), Creation(7), &[1, 2, 3, 4, 5]).unwrap()
    }

    #[test]
    fn aliases_are_found_in_both_shapes_of_tags() {
        let alias = Term::Atom(Atom::from_static("alias"));
        let plain = Term::improper_list(vec![alias], Term::Reference(reference()));
        assert_eq!(alias_of(&plain), Some(Destination::Alias(reference())));
        let multi = Term::improper_list(vec![plain], Term::Reference(reference()));
        assert_eq!(alias_of(&multi), Some(Destination::Alias(reference())));
        assert_eq!(alias_of(&Term::Reference(reference())), None);
    }
}

//! One call of a function of this node, asked for by a spawn request.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use krarup_transport::dist::control::SpawnRequest;
use krarup_transport::term::{Atom, Term};

use super::{Function, FunctionName, Raise};
use crate::atoms::atom;
use crate::process::{ExitReason, Process, ProcessResult, panic_reason};

/// A function, its arguments, and who learns what becomes of them.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    module: Atom,
    function: Atom,
    arguments: Vec<Term>,
    teller: Teller,
}

/// How the outcome is told.
#[derive(Clone, Debug)]
enum Teller {
    /// By nothing but the end of the process.
    Exit,
    /// By the reason that the process ends with, marked with this term (OTP: `erpc.erl`,
    /// `execute_call/4`).
    Result(Term),
}

impl Invocation {
    /// What a spawn request asks for. `erpc` and `rpc` ask for `erpc:execute_call/4` and
    /// `execute_cast/3`, which every OTP node has, and `spawn(Node, Fun)` for `erlang:apply/2`.
    ///
    /// # Errors
    /// The reason that the new process ends with, when there is nothing to run.
    pub(crate) fn of_request(
        request: &SpawnRequest,
        arguments: Option<Term>,
    ) -> Result<Self, Term> {
        let Some(Term::List(arguments)) = arguments else {
            return Err(atom("argument_list_decode_failure"));
        };
        let (module, function) = (&request.module, &request.function);
        match (module.as_str(), function.as_str(), arguments.as_slice()) {
            ("erpc", "execute_call", [mark, module, function, arguments]) => {
                Self::applied([module, function, arguments], Teller::Result(mark.clone()))
            }
            ("erpc", "execute_cast", [module, function, arguments]) => {
                Self::applied([module, function, arguments], Teller::Exit)
            }
            _ => Self::unwrapped(module, function, arguments, Teller::Exit),
        }
    }

    fn applied(call: [&Term; 3], teller: Teller) -> Result<Self, Term> {
        match call {
            [Term::Atom(module), Term::Atom(function), Term::List(arguments)] => {
                Self::unwrapped(module, function, arguments.clone(), teller)
            }
            _ => Err(teller.failed(Raise::error("badarg"), Vec::new())),
        }
    }

    /// What `erlang:apply` stands for.
    fn unwrapped(
        module: &Atom,
        function: &Atom,
        arguments: Vec<Term>,
        teller: Teller,
    ) -> Result<Self, Term> {
        let is_apply = module.as_str() == "erlang" && function.as_str() == "apply";
        let (raise, frame) = match arguments.as_slice() {
            [Term::Atom(module), Term::Atom(function), Term::List(arguments)] if is_apply => {
                return Self::unwrapped(module, function, arguments.clone(), teller);
            }
            [Term::Export(fun), Term::List(arguments)]
                if is_apply && usize::from(fun.arity) == arguments.len() =>
            {
                return Self::unwrapped(&fun.module, &fun.function, arguments.clone(), teller);
            }
            // A closure: its module is not here.
            [closure @ Term::Fun(fun), Term::List(arguments)]
                if is_apply && usize::from(fun.arity) == arguments.len() =>
            {
                let frame = vec![closure.clone(), Term::List(arguments.clone()), nil()];
                (Raise::error("undef"), Term::Tuple(frame))
            }
            [fun @ (Term::Export(_) | Term::Fun(_)), list @ Term::List(_)] if is_apply => {
                let call = Term::Tuple(vec![fun.clone(), list.clone()]);
                (Raise::Error(Term::Tuple(vec![atom("badarity"), call])), frame_of_apply(None))
            }
            [other, Term::List(_)] if is_apply => {
                let reason = Term::Tuple(vec![atom("badfun"), other.clone()]);
                (Raise::Error(reason), frame_of_apply(None))
            }
            [_, _] | [_, _, _] if is_apply => {
                (Raise::error("badarg"), frame_of_apply(Some(arguments)))
            }
            _ => {
                let (module, function) = (module.clone(), function.clone());
                return Ok(Invocation { module, function, arguments, teller });
            }
        };
        Err(teller.failed(raise, vec![frame]))
    }

    pub(crate) fn name(&self) -> FunctionName {
        FunctionName {
            module: self.module.clone(),
            function: self.function.clone(),
            arity: self.arguments.len(),
        }
    }

    /// The reason that the process ends with if there is no such function.
    pub(crate) fn undefined(&self) -> Term {
        let frame = self.frame(Term::List(self.arguments.clone()));
        self.teller.failed(Raise::error("undef"), vec![frame])
    }

    /// Calls the function and tells the outcome.
    pub(crate) async fn run(self, function: Function, me: Process) -> ProcessResult {
        let arity = Term::from(i64::try_from(self.arguments.len()).unwrap_or(i64::MAX));
        let stack = vec![self.frame(arity)];
        let teller = self.teller;
        let running = AssertUnwindSafe(async move { function(me, self.arguments).await });
        let outcome = match running.catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => Err(Raise::Error(panic_reason(&*panic))),
        };
        let reason = match (outcome, teller) {
            (Ok(_), Teller::Exit) => return Ok(()),
            (Ok(value), Teller::Result(mark)) => Term::Tuple(vec![mark, atom("return"), value]),
            (Err(raise), teller) => teller.failed(raise, stack),
        };
        Err(ExitReason(reason).into())
    }

    /// A line of a stack trace.
    fn frame(&self, arguments: Term) -> Term {
        let (module, function) = (self.module.clone(), self.function.clone());
        Term::Tuple(vec![Term::Atom(module), Term::Atom(function), arguments, nil()])
    }
}

impl Teller {
    /// The reason that a process ends with whose function failed.
    fn failed(&self, raise: Raise, stack: Vec<Term>) -> Term {
        let stack = Term::List(stack);
        match (self, raise) {
            (Teller::Exit, Raise::Error(reason)) => Term::Tuple(vec![reason, stack]),
            (Teller::Exit, Raise::Exit(reason)) => reason,
            (Teller::Exit, Raise::Throw(value)) => {
                Term::Tuple(vec![Term::Tuple(vec![atom("nocatch"), value]), stack])
            }
            (Teller::Result(mark), Raise::Error(reason)) => {
                Term::Tuple(vec![mark.clone(), atom("error"), reason, stack])
            }
            (Teller::Result(mark), Raise::Exit(reason)) => {
                Term::Tuple(vec![mark.clone(), atom("exit"), reason])
            }
            (Teller::Result(mark), Raise::Throw(value)) => {
                Term::Tuple(vec![mark.clone(), atom("throw"), value])
            }
        }
    }
}

/// The line of a stack trace for `erlang:apply`, with its arguments or with how many it takes.
fn frame_of_apply(arguments: Option<Vec<Term>>) -> Term {
    let arguments = arguments.map_or(Term::Integer(2), Term::List);
    Term::Tuple(vec![atom("erlang"), atom("apply"), arguments, nil()])
}

fn nil() -> Term {
    Term::List(Vec::new())
}

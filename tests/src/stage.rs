//! Questions that are put to nodes of both kinds, from Erlang and from Rust.

use std::sync::mpsc;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::term::Term;
use krarup::{Cookie, Node, Process, ProcessResult, Ties};

use crate::{Callee, Lab, OtpNode, Release};

const ASKER: &str = include_str!("../otp/krarup_asker.erl");
/// How long what a process does may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An Erlang node that asks, and two nodes that are asked.
pub struct Stage {
    /// `asker@127.0.0.1`, with the functions of `krarup_asker`.
    pub asker: OtpNode,
    /// `o@127.0.0.1` of OTP and `k@127.0.0.1` of Krarup.
    pub callees: [Callee; 2],
    /// Where they are.
    pub lab: Lab,
}

impl Stage {
    /// Starts all three; `rust_node` is the path of that program.
    ///
    /// # Panics
    ///
    /// When one does not start.
    pub fn new(release: Release, rust_node: &str) -> Self {
        let lab = Lab::new();
        let asker = lab.otp(release, "asker").module(ASKER).start();
        let callees = Callee::of_both_kinds(&lab, release, rust_node);
        Self { asker, callees, lab }
    }

    /// Checks that both callees give the same answer to each question, this one. In a question
    /// `Node` is the one that is asked, and `Server` the server there; in an answer `N` is its
    /// name.
    ///
    /// # Panics
    ///
    /// When one gives another answer.
    pub fn holds(&mut self, questions: &[(&str, &str)]) {
        for of in 0..self.callees.len() {
            for (question, answer) in questions {
                assert_eq!(self.ask(of, question), *answer, "callee {of}: {question}");
            }
        }
    }

    /// What one of the callees answers.
    ///
    /// # Panics
    ///
    /// When the question cannot be evaluated.
    pub fn ask(&mut self, of: usize, question: &str) -> String {
        let name = self.callees[of].name();
        let answer = self.asker.eval(&format!(
            "(fun(Node, Server) -> krarup_asker:caught(fun() -> {question} end) end)
                ('{name}', {{callee, '{name}'}})."
        ));
        answer.replace(name, "N")
    }
}

/// A node `rust@127.0.0.1` in this process, which asks.
///
/// # Panics
///
/// When it does not start.
pub fn asking_node(lab: &Lab) -> Node {
    Node::builder("rust@127.0.0.1")
        .cookie(Cookie::new("c").expect("this is a cookie"))
        .epmd(EpmdMode::External)
        .epmd_port(lab.epmd_port())
        .spin(Duration::ZERO)
        .shards(2)
        .start()
        .expect("the node starts")
}

/// Runs a test inside a process and waits for it. Nothing may be left over afterwards: no message,
/// link, monitor or alias.
///
/// # Panics
///
/// When the test fails, or leaves something behind.
pub fn inside<F>(node: &Node, run: F)
where
    F: AsyncFnOnce(&mut Process) -> ProcessResult + Send + 'static,
{
    let (done, finished) = mpsc::channel();
    let guarded = move |mut me: Process| async move {
        let outcome = run(&mut me).await;
        let left = me.try_recv();
        assert!(left.is_none(), "left in the mailbox: {left:?}");
        assert_eq!(me.ties(), Ties::default(), "something was left behind");
        let _ = done.send(outcome.as_ref().copied().map_err(ToString::to_string));
        outcome
    };
    node.spawn_on(1, None, guarded).wait().expect("a process");
    finished.recv_timeout(PATIENCE).expect("the test ends without a panic").expect("it passes");
}

/// A term from its text.
///
/// # Panics
///
/// When it is none.
pub fn term(text: &str) -> Term {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

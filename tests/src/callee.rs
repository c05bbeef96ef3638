//! What nodes that are called offer, in Rust: what `otp/krarup_callee.erl` is on Erlang nodes.

use std::error::Error;

use krarup::gen_server::{Answer, Caller, serve};
use krarup::term::{Atom, Pid, Term};
use krarup::{ExitReason, GenServer, Node, Process, ProcessResult, Raise, Signal};
use serde::Deserialize;

use crate::{Lab, OtpNode, Release};

const CALLEE: &str = include_str!("../otp/krarup_callee.erl");
/// The name of the server on every node that is called.
const SERVER: &str = "callee";

/// A node with a server `callee` and the functions of `krarup_callee`, of either kind. It is killed
/// with this value, as `kill -9` does.
pub struct Callee {
    name: String,
    running: Running,
}

enum Running {
    Otp(OtpNode),
    Krarup(crate::Process),
}

impl Callee {
    /// A real Erlang node.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn otp(lab: &Lab, release: Release, name: &str) -> Self {
        let mut node = lab.otp(release, name).module(CALLEE).start();
        node.eval("{ok, Server} = krarup_callee:start(callee).");
        node.eval("krarup_callee:start_old_style(old).");
        Self { name: node.name().to_owned(), running: Running::Otp(node) }
    }

    /// A Krarup node: `rust_node` is the path of that program.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn krarup(lab: &Lab, name: &str, rust_node: &str) -> Self {
        let running = Running::Krarup(lab.rust_node(rust_node, name));
        Self { name: format!("{name}@127.0.0.1"), running }
    }

    /// `o@127.0.0.1` of OTP and `k@127.0.0.1` of Krarup.
    ///
    /// # Panics
    ///
    /// When one does not start.
    pub fn of_both_kinds(lab: &Lab, release: Release, rust_node: &str) -> [Self; 2] {
        [Self::otp(lab, release, "o"), Self::krarup(lab, "k", rust_node)]
    }

    /// The full node name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process, for its output.
    pub fn process(&mut self) -> &mut crate::Process {
        match &mut self.running {
            Running::Otp(node) => node.process(),
            Running::Krarup(process) => process,
        }
    }
}

/// Puts the server and the functions on a node.
pub(crate) fn register(node: &Node) {
    node.spawn(SERVER, |me| serve(me, Server::default())).expect("the name is free");
    let module = "krarup_callee";
    node.register_function(module, "add", |_, (a, b): (i64, i64)| async move {
        a.checked_add(b).ok_or(Raise::error("system_limit"))
    });
    node.register_function(module, "echo", |_, (term,): (Term,)| async move { Ok(term) });
    node.register_function(module, "fail", |_, (class, reason): (Atom, Term)| async move {
        fail(&class, reason)
    });
    node.register_function(module, "panic", |_, (text,): (String,)| async move {
        if text.is_empty() { Ok(()) } else { panic!("{text}") }
    });
    node.register_function(module, "big", |_, (bytes,): (usize,)| async move {
        Ok(Term::Binary(vec![7; bytes].into()))
    });
    node.register_function(module, "size", |_, (binary,): (Term,)| async move {
        match binary {
            Term::Binary(bytes) => Ok(bytes.len()),
            _ => Err(Raise::error("badarg")),
        }
    });
    node.register_function(module, "leader", |me, ()| async move { Ok(me.group_leader()) });
    node.register_function(module, "me", |me, ()| async move { Ok(me.pid()) });
    node.register_function(module, "hold", |mut me, (owner,): (Pid,)| async move {
        me.send(&owner, &(Atom::from_static("held"), me.pid())).await?;
        loop {
            let signal = me.recv().await?;
            let Ok((class, value)) = signal.message::<(Atom, Term)>() else { continue };
            match class.as_str() {
                "return" => return Ok(value),
                "throw" | "exit" | "error" => return fail(&class, value),
                _ => {}
            }
        }
    });
    node.register_function(module, "hold_trapping", |mut me, (owner,): (Pid,)| async move {
        me.trap_exit(true);
        me.send(&owner, &(Atom::from_static("held"), me.pid())).await?;
        loop {
            if let Signal::Exit(exit) = me.recv().await? {
                let exited = Atom::from_static("exited");
                return Ok(me.send(&owner, &(exited, me.pid(), exit.from, exit.reason)).await?);
            }
        }
    });
    node.register_function(module, "tell", |me, (to, term): (Pid, Term)| async move {
        me.send(&to, &(Atom::from_static("told"), me.pid(), term)).await?;
        Ok(Atom::from_static("ok"))
    });
    // Starts a process on another node that prints here.
    node.register_function(
        module,
        "start_at",
        |me, (node, module, function, arguments): (Atom, Atom, Atom, Vec<Term>)| async move {
            let user = me.whereis(&Atom::from_static("user")).ok_or(Raise::error("noproc"))?;
            me.set_group_leader(user);
            Ok(me.spawn_at(node.as_str(), module.as_str(), function.as_str(), arguments).await?)
        },
    );
    node.register_function(module, "print", |me, (text,): (Term,)| async move {
        me.print(text.to_text().ok_or(Raise::error("badarg"))?).await?;
        Ok(Atom::from_static("ok"))
    });
}

fn fail(class: &Atom, reason: Term) -> Result<Term, Raise> {
    Err(match class.as_str() {
        "throw" => Raise::Throw(reason),
        "exit" => Raise::Exit(reason),
        "error" => Raise::Error(reason),
        _ => Raise::error("function_clause"),
    })
}

/// The server: whoever is to be answered later.
#[derive(Default)]
struct Server {
    waiting: Vec<Caller>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Echo(Term),
    Pid,
    Later,
    Waiting,
    Stop(Term, Term),
    Leave(Term),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Tell(Pid, Term),
    AnswerAll(Term),
    Stop(Term),
}

impl GenServer for Server {
    type Call = Ask;
    type Reply = Term;
    type Cast = Told;

    async fn call(
        &mut self,
        me: &mut Process,
        request: Ask,
        from: &Caller,
    ) -> Result<Answer<Term>, Box<dyn Error>> {
        Ok(match request {
            Ask::Echo(term) => Answer::Reply(term),
            Ask::Pid => Answer::Reply(Term::Pid(me.pid())),
            Ask::Later => {
                self.waiting.push(from.clone());
                Answer::Later
            }
            Ask::Waiting => Answer::Reply(Term::from(self.waiting.len() as u64)),
            Ask::Stop(reason, reply) => Answer::Stop(reason, reply),
            Ask::Leave(reason) => return Err(ExitReason(reason).into()),
        })
    }

    async fn cast(&mut self, me: &mut Process, told: Told) -> ProcessResult {
        match told {
            // Whoever has gone gets nothing.
            Told::Tell(to, term) => drop(me.send(&to, &term).await),
            Told::AnswerAll(term) => {
                for caller in self.waiting.drain(..) {
                    let _ = caller.reply(me, &term).await;
                }
            }
            Told::Stop(reason) => return Err(ExitReason(reason).into()),
        }
        Ok(())
    }

    async fn info(&mut self, me: &mut Process, signal: Signal) -> ProcessResult {
        if let Ok((label, to, term)) = signal.message::<(Atom, Pid, Term)>()
            && label.as_str() == "tell"
        {
            let _ = me.send(&to, &(Atom::from_static("info"), term)).await;
        }
        Ok(())
    }
}

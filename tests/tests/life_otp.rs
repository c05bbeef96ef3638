//! A node without a name becomes alive, ceases to be and becomes alive again: a Krarup node does and
//! sees what an Erlang node does and sees.

use std::collections::VecDeque;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::term::{Atom, Creation, Pid, Term};
use krarup::{
    Cookie, Destination, Node, NodeMonitorOptions, NodeTypes, Process, ProcessResult, RpcError,
    Signal,
};
use krarup_tests::{Lab, OtpNode, Release, for_each_release, term};

const LIFE: &str = include_str!("../otp/krarup_life.erl");
/// How long a message or a call may take.
const PATIENCE: Duration = Duration::from_secs(20);

for_each_release!(lives_are_as_those_of_an_erlang_node);

/// What is done, by whom.
#[derive(Debug)]
enum Step {
    /// By the node: a function and its arguments.
    Own(&'static str, &'static str, &'static str),
    /// By the peer `b`: expressions.
    Peer(&'static str),
}

use Step::{Own, Peer};

/// The peer's next messages of nodeup and nodedown.
const NEXT: &str = "(fun() -> receive Message -> Message after 20000 -> missing end end)().";
/// Who is registered with epmd.
const REGISTERED: &str =
    "lists:sort([list_to_atom(Name) || {Name, _} <- element(2, erl_epmd:names())]).";

const LIVES: &[Step] = &[
    // Not alive.
    Own("net_kernel", "get_state", "[]"),
    Own("erlang", "node", "[]"),
    Own("erlang", "is_alive", "[]"),
    Own("erlang", "nodes", "[this]"),
    Own("erlang", "nodes", "[]"),
    Own("erlang", "get_cookie", "[]"),
    Own("net_kernel", "stop", "[]"),
    Own("net_kernel", "nodename", "[]"),
    Own("net_kernel", "longnames", "[]"),
    Own("life", "creation", "[]"),
    Own("net_kernel", "connect_node", "['b@127.0.0.1']"),
    Own("net_kernel", "hidden_connect_node", "['b@127.0.0.1']"),
    Own("erlang", "disconnect_node", "['b@127.0.0.1']"),
    Own("net_kernel", "allow", "[[a]]"),
    Own("net_kernel", "allowed", "[]"),
    Own("net_kernel", "get_net_ticktime", "[]"),
    Own("net_adm", "ping", "['b@127.0.0.1']"),
    Own("net_adm", "ping", "[nonode@nohost]"),
    Own("erlang", "get_cookie", "['b@127.0.0.1']"),
    Own("erlang", "set_cookie", "[x]"),
    Own("erlang", "set_cookie", "['b@127.0.0.1', x]"),
    Own("erlang", "set_cookie", "[nonode@nohost, x]"),
    Own("erlang", "monitor_node", "['b@127.0.0.1', true]"),
    Own("life", "subscribe", "[]"),
    Own("life", "keep", "[]"),
    // What it cannot be started with.
    Own("net_kernel", "start", "[[]]"),
    Own("net_kernel", "start", "[foo]"),
    Own("net_kernel", "start", "[[1]]"),
    Own("net_kernel", "start", "[[a, shortnames, x]]"),
    Own("net_kernel", "start", "[[a, shortnames, 0]]"),
    Own("net_kernel", "start", "[[a, shortnames, 1000, more]]"),
    Own("net_kernel", "start", "[[a, foo]]"),
    Own("net_kernel", "start", "[a, foo]"),
    Own("net_kernel", "start", "[1, foo]"),
    Own("net_kernel", "start", "[1, #{}]"),
    Own("net_kernel", "start", "[a, #{x => y}]"),
    Own("net_kernel", "start", "[a, #{name_domain => x}]"),
    Own("net_kernel", "start", "[a, #{net_ticktime => 0}]"),
    Own("net_kernel", "start", "[a, #{net_tickintensity => 3}]"),
    Own("net_kernel", "start", "[a, #{net_tickintensity => 1001}]"),
    Own("net_kernel", "start", "[a, #{dist_listen => x}]"),
    Own("net_kernel", "start", "[a, #{hidden => 1}]"),
    Own("net_kernel", "start", "['b@127.0.0.1', #{}]"),
    Own("net_kernel", "start", "[['a@b@c']]"),
    Own("net_kernel", "get_state", "[]"),
    Own("life", "left_over", "[]"),
    // A first life.
    Own("net_kernel", "start", "['l1@127.0.0.1', #{net_ticktime => 17, net_tickintensity => 10}]"),
    Own("life", "messages", "[1]"),
    Own("net_kernel", "get_state", "[]"),
    Own("erlang", "node", "[]"),
    Own("erlang", "is_alive", "[]"),
    Own("erlang", "nodes", "[this]"),
    Own("erlang", "get_cookie", "[]"),
    Own("net_kernel", "nodename", "[]"),
    Own("net_kernel", "longnames", "[]"),
    Own("net_kernel", "get_net_ticktime", "[]"),
    Own("life", "creation", "[]"),
    Own("life", "ask_kept", "[]"),
    Own("net_kernel", "allow", "[['b@127.0.0.1']]"),
    Own("net_kernel", "allowed", "[]"),
    Own("erlang", "set_cookie", "['c@127.0.0.1', wrong]"),
    Own("erlang", "get_cookie", "['c@127.0.0.1']"),
    Own("net_kernel", "start", "[['l2@127.0.0.1']]"),
    Own("net_kernel", "connect_node", "['b@127.0.0.1']"),
    Own("life", "messages", "[1]"),
    Peer(NEXT),
    Peer("nodes()."),
    Peer(REGISTERED),
    // The name of a node without one is nobody's now.
    Own("life", "watch", "[nonode@nohost, kept]"),
    Own("life", "messages", "[1]"),
    Own("net_adm", "ping", "[nonode@nohost]"),
    Own("life", "watch", "['b@127.0.0.1', rex]"),
    Own("net_kernel", "stop", "[]"),
    Own("life", "messages", "[3]"),
    Own("life", "left_over", "[]"),
    Peer(NEXT),
    Peer(REGISTERED),
    // Between two lives.
    Own("net_kernel", "get_state", "[]"),
    Own("erlang", "node", "[]"),
    Own("erlang", "is_alive", "[]"),
    Own("erlang", "nodes", "[]"),
    Own("erlang", "get_cookie", "[]"),
    Own("life", "creation", "[]"),
    Own("life", "ask_kept", "[]"),
    Own("net_kernel", "stop", "[]"),
    // A second one, of another name.
    Own("net_kernel", "start", "[['l2@127.0.0.1', longnames, 7001]]"),
    Own("life", "messages", "[1]"),
    Own("erlang", "node", "[]"),
    Own("net_kernel", "get_net_ticktime", "[]"),
    Own("net_kernel", "allowed", "[]"),
    Own("erlang", "get_cookie", "['c@127.0.0.1']"),
    Own("life", "creation", "[]"),
    Own("life", "ask_kept", "[]"),
    Own("net_kernel", "connect_node", "['b@127.0.0.1']"),
    Own("life", "messages", "[1]"),
    Peer(NEXT),
    Own("net_kernel", "stop", "[]"),
    Own("life", "messages", "[2]"),
    Peer(NEXT),
    // A third one of the first name, to which nobody can connect.
    Own("net_kernel", "start", "['l1@127.0.0.1', #{dist_listen => false, hidden => false}]"),
    Own("life", "messages", "[1]"),
    Own("life", "creation", "[]"),
    Own("net_kernel", "connect_node", "['b@127.0.0.1']"),
    Own("life", "messages", "[1]"),
    Peer(NEXT),
    Peer("{nodes(), nodes(hidden)}."),
    Peer(REGISTERED),
    Own("net_kernel", "stop", "[]"),
    Own("life", "messages", "[2]"),
    Peer(NEXT),
    // One that others name.
    Own("net_kernel", "start", "['undefined@127.0.0.1', #{}]"),
    Own("life", "left_over", "[]"),
    Own("net_kernel", "get_state", "[]"),
    Own("erlang", "node", "[]"),
    Own("erlang", "is_alive", "[]"),
    Own("net_kernel", "nodename", "[]"),
    Own("life", "creation", "[]"),
    Own("net_kernel", "connect_node", "['nobody@127.0.0.1']"),
    Own("net_adm", "ping", "['nobody@127.0.0.1']"),
    Own("net_kernel", "get_net_ticktime", "[]"),
    Own("erlang", "node", "[]"),
    Own("net_adm", "ping", "['b@127.0.0.1']"),
    Own("erlang", "node", "[]"),
    Own("net_kernel", "connect_node", "['b@127.0.0.1']"),
    Own("life", "messages", "[2]"),
    Peer(NEXT),
    Own("net_kernel", "get_state", "[]"),
    Own("erlang", "node", "[]"),
    Own("net_kernel", "nodename", "[]"),
    Own("life", "creation", "[]"),
    Own("life", "ask_kept", "[]"),
    Own("net_kernel", "connect_node", "['c@127.0.0.1']"),
    Own("life", "messages", "[1]"),
    Peer("{nodes(), length(nodes(hidden))}."),
    Own("erlang", "set_cookie", "['x@127.0.0.1', other]"),
    Own("erlang", "get_cookie", "['x@127.0.0.1']"),
    Own("net_kernel", "set_net_ticktime", "[80, 0]"),
    Own("net_kernel", "get_net_ticktime", "[]"),
    // The name goes with the connection to who gave it, and the other connection with the name.
    Own("erlang", "disconnect_node", "['b@127.0.0.1']"),
    Own("life", "messages", "[3]"),
    Peer(NEXT),
    Own("erlang", "node", "[]"),
    Own("net_kernel", "get_state", "[]"),
    Own("erlang", "nodes", "[connected]"),
    Own("erlang", "get_cookie", "['x@127.0.0.1']"),
    Own("net_kernel", "get_net_ticktime", "[]"),
    // The same one, of the next creation.
    Own("net_kernel", "connect_node", "['b@127.0.0.1']"),
    Own("life", "messages", "[2]"),
    Peer(NEXT),
    Own("erlang", "node", "[]"),
    Own("life", "ask_kept", "[]"),
    Own("net_kernel", "stop", "[]"),
    Own("life", "messages", "[2]"),
    Peer(NEXT),
    Own("net_kernel", "get_state", "[]"),
    Own("life", "end_kept", "[]"),
    Own("life", "messages", "[1]"),
    Own("life", "left_over", "[]"),
];

fn lives_are_as_those_of_an_erlang_node(release: Release) {
    let lab = Lab::new();
    let mut b = lab.otp(release, "b").start();
    let _c = lab.otp(release, "c").start();
    b.eval("net_kernel:monitor_nodes(true, [nodedown_reason, {node_type, all}]).");
    let model = {
        let mut otp = lab.otp(release, "o").anonymous().module(LIFE).start();
        otp.eval("logger:set_primary_config(level, none).");
        results(LIVES, &mut b, |module, function, arguments| {
            term(&otp.eval(&format!("krarup_life:step({module}, {function}, {arguments}).")))
        })
    };
    let node = anonymous(&lab);
    node.spawn("actor", actor).expect("a process");
    let mut director = node.mailbox(Some("director")).wait().expect("a mailbox");
    let ours = results(LIVES, &mut b, |module, function, arguments| {
        let order = term(&format!("{{{module}, {function}, {arguments}}}"));
        director.send_blocking("actor", &order).expect("sent");
        match director.recv_timeout(2 * PATIENCE).expect("the node runs") {
            Some(Signal::Message(answer)) => answer.term().expect("a term"),
            other => panic!("{module}:{function}({arguments}): {other:?}"),
        }
    });
    drop(director);
    node.stop().wait();
    let differences: Vec<String> = LIVES
        .iter()
        .zip(model.iter().zip(&ours))
        .filter(|(_, (model, ours))| model != ours)
        .map(|(step, (model, ours))| format!("{step:?}: OTP {model}, ours {ours}"))
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// What comes of each step.
fn results(
    steps: &[Step],
    b: &mut OtpNode,
    mut own: impl FnMut(&str, &str, &str) -> Term,
) -> Vec<Term> {
    let result = |step: &Step| match step {
        Own(module, function, arguments) => own(module, function, arguments),
        Peer(expressions) => term(&b.eval(expressions)),
    };
    steps.iter().map(result).map(without_made_up).collect()
}

/// Names that nodes are given are made up, and so are the numbers of connections.
fn without_made_up(term: Term) -> Term {
    let each = |terms: Vec<Term>| terms.into_iter().map(without_made_up).collect();
    match term {
        Term::Atom(name) => {
            let given = name.as_str().strip_suffix("@127.0.0.1").is_some_and(|head| {
                head.len() > 4 && head.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
            });
            Term::Atom(if given { Atom::from_static("GIVEN") } else { name })
        }
        Term::List(elements) => Term::List(each(elements)),
        Term::Tuple(elements) => match elements.as_slice() {
            [key, Term::Integer(_)] if *key == atom("connection_id") => {
                tuple([key.clone(), atom("NUMBER")])
            }
            _ => Term::Tuple(each(elements)),
        },
        Term::Map(map) => {
            Term::Map(map.into_iter().map(|(key, value)| (key, without_made_up(value))).collect())
        }
        other => other,
    }
}

fn anonymous(lab: &Lab) -> Node {
    Node::anonymous()
        .cookie(Cookie::new("c").expect("this is a cookie"))
        .epmd(EpmdMode::External)
        .epmd_port(lab.epmd_port())
        .spin(Duration::ZERO)
        .shards(2)
        .services(true)
        .start()
        .expect("the node starts")
}

/// `krarup_life:step/3` in Rust, for each order that comes.
async fn actor(mut me: Process) -> ProcessResult {
    let mut life = Life::default();
    loop {
        match me.recv().await? {
            Signal::Message(order) => {
                let order = order.term()?;
                let Some([Term::Atom(module), Term::Atom(function), Term::List(arguments)]) =
                    order.as_tuple()
                else {
                    panic!("{order} is no order");
                };
                let result =
                    life.step(&mut me, module.as_str(), function.as_str(), arguments).await;
                me.send("director", &result).await?;
            }
            other => life.seen.push_back(other),
        }
    }
}

#[derive(Default)]
struct Life {
    kept: Option<Pid>,
    creation: Option<Creation>,
    /// Came while nobody asked for it.
    seen: VecDeque<Signal>,
}

impl Life {
    async fn step(
        &mut self,
        me: &mut Process,
        module: &str,
        function: &str,
        arguments: &[Term],
    ) -> Term {
        match (module, function, arguments) {
            ("life", "subscribe", []) => {
                let all = NodeMonitorOptions::default().node_type(NodeTypes::All);
                me.monitor_nodes_with(true, all.nodedown_reason().connection_id());
                atom("ok")
            }
            ("life", "messages", [count]) => {
                let mut messages = Vec::new();
                for _ in 0..count.as_integer().unwrap_or(0) {
                    messages.push(self.next(me).await.map_or_else(|| atom("missing"), message));
                }
                Term::List(messages)
            }
            ("life", "left_over", []) => {
                let signal = self.seen.pop_front().or_else(|| me.try_recv());
                signal.map_or_else(|| atom("nothing"), message)
            }
            ("life", "keep", []) => {
                let kept = me.node().spawn_on(0, Some("kept"), kept).await.expect("a process");
                me.monitor(&kept);
                self.kept = Some(kept);
                atom("true")
            }
            ("life", "ask_kept", []) => {
                let kept = self.kept.clone().expect("it is kept");
                me.send(&kept, &(me.pid(), atom("hello"))).await.expect("sent");
                match self.next(me).await {
                    Some(Signal::Message(answer)) => {
                        let is_registered = me.whereis(&Atom::from_static("kept")).is_some();
                        tuple([answer.term().expect("a term"), Term::from(is_registered)])
                    }
                    _ => atom("missing"),
                }
            }
            ("life", "end_kept", []) => {
                let kept = self.kept.clone().expect("it is kept");
                me.send(&kept, &atom("stop")).await.expect("sent");
                atom("true")
            }
            ("life", "watch", [Term::Atom(node), Term::Atom(name)]) => {
                me.monitor((name.as_str(), node.as_str()));
                atom("true")
            }
            ("life", "creation", []) => atom(self.creation(me)),
            _ => {
                let name = me.node().name();
                let own = name.as_ref().map_or("nonode@nohost", Atom::as_str);
                plain(me.rpc(own, module, function, arguments, PATIENCE).await)
            }
        }
    }

    async fn next(&mut self, me: &mut Process) -> Option<Signal> {
        match self.seen.pop_front() {
            Some(signal) => Some(signal),
            None => me.recv_timeout(PATIENCE).await.expect("the node runs"),
        }
    }

    /// How the creation has changed since it was looked at last.
    fn creation(&mut self, me: &Process) -> &'static str {
        let Some(now) = me.node().creation() else {
            self.creation = None;
            return "none";
        };
        match self.creation.replace(now) {
            Some(before) if now.0 == before.0.wrapping_add(1) => "next",
            Some(before) if now == before => "same",
            _ => "other",
        }
    }
}

/// A process that lives through everything.
async fn kept(mut me: Process) -> ProcessResult {
    loop {
        let Signal::Message(message) = me.recv().await? else { continue };
        match message.term()?.as_tuple() {
            Some([Term::Pid(from), question]) => me.send(from, question).await?,
            _ => return Ok(()),
        }
    }
}

/// The message of Erlang that a signal is.
fn message(signal: Signal) -> Term {
    match signal {
        Signal::NodeUp(up) => up.to_term(),
        Signal::NodeDown(down) => down.to_term(),
        Signal::Down(down) => {
            let object = match &down.from {
                Destination::Remote { name, node } => {
                    tuple([Term::Atom(name.clone()), Term::Atom(node.clone())])
                }
                _ => atom("PID"),
            };
            let reason = down.reason.clone();
            tuple([atom("DOWN"), atom("REFERENCE"), atom("process"), object, reason])
        }
        other => panic!("nobody asked for {other:?}"),
    }
}

/// What a function returned or raised, without what differs from run to run.
fn plain(result: Result<Term, RpcError>) -> Term {
    match result {
        Ok(Term::Tuple(elements)) => match elements.as_slice() {
            [of, Term::Pid(_)] => tuple([of.clone(), atom("PID")]),
            [error, Term::Tuple(reason)] if reason.len() == 2 => {
                tuple([error.clone(), tuple([reason[0].clone(), atom("PID")])])
            }
            _ => Term::Tuple(elements),
        },
        Ok(value) => value,
        Err(RpcError::Error { reason, .. }) => tuple([atom("raised"), reason]),
        Err(other) => panic!("a call failed: {other}"),
    }
}

fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

fn tuple<const N: usize>(elements: [Term; N]) -> Term {
    Term::Tuple(elements.into())
}

//! A node that another one has started: what it owes to it. OTP: `slave.erl`, `peer.erl`.
//!
//! It tells its parent that it is there, and ends when the parent does. A `peer` may also be spoken
//! to without a connection of nodes, over TCP or over standard input and output.

mod channel;

use self::channel::{Framing, Inbox, framed};
use super::Failure;
use super::node::End;
use base64::Engine;
use futures_channel::oneshot;
use krarup::term::{Atom, Limits, Pid, Term};
use krarup::{Node, Process, ProcessResult, RpcError, Signal};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// How long each address of the parent may take to answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the parent may take to say who prints.
const LEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// What `-s slave slave_start`, `-user peer` and `-origin` of erl become.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Flags {
    /// The node that started this one as `slave` does, and the process there that waits
    #[arg(long, hide = true, num_args = 2, value_names = ["MASTER", "WAITER"])]
    slave: Vec<String>,

    /// Started as `peer` does
    #[arg(long, hide = true)]
    peer: bool,

    /// Where the peer's origin is: a pid in base 64, or addresses and a port
    #[arg(long, hide = true, num_args = 1..=2, value_names = ["ORIGIN", "PORT"], requires = "peer")]
    origin: Vec<String>,
}

/// Who started this node, and how it is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parent {
    /// A process of another node that waits under this name.
    Slave { master: Atom, waiter: Atom },
    /// A process of another node.
    Process(Pid),
    /// Whoever listens there.
    Socket(Vec<IpAddr>, u16),
    /// Whoever holds the other ends of standard input and output.
    Stdio,
}

impl Parent {
    /// Who the flags name, if anybody.
    ///
    /// # Errors
    ///
    /// Flags that neither `slave` nor `peer` gives.
    pub(super) fn of(flags: &Flags) -> Result<Option<Self>, Failure> {
        let usage = |what: String| Failure::Usage(what);
        let atom =
            |text: &str| Atom::new(text).map_err(|error| usage(format!("{text:?}: {error}")));
        if let [master, waiter] = flags.slave.as_slice() {
            return Ok(Some(Parent::Slave { master: atom(master)?, waiter: atom(waiter)? }));
        }
        if !flags.peer {
            return Ok(None);
        }
        Ok(Some(match flags.origin.as_slice() {
            [] => Parent::Stdio,
            [pid] => Parent::Process(origin(pid).ok_or_else(|| {
                usage(format!("-origin: expected a pid in base 64, got {pid:?}"))
            })?),
            [addresses, port, ..] => {
                let parsed: Option<Vec<IpAddr>> =
                    addresses.split(',').map(|address| address.parse().ok()).collect();
                let wrong = || {
                    usage(format!(
                        "-origin: expected addresses and a port, got {addresses:?} {port:?}"
                    ))
                };
                let port = port.parse().map_err(|_| wrong())?;
                Parent::Socket(parsed.ok_or_else(wrong)?, port)
            }
        }))
    }

    /// Whether the node need not be alive.
    pub(super) fn needs_no_name(&self) -> bool {
        matches!(self, Parent::Socket(..) | Parent::Stdio)
    }

    /// Whether standard output belongs to it.
    pub(super) fn has_stdout(&self) -> bool {
        *self == Parent::Stdio
    }

    /// Tells the parent that the node is there; `tell` ends it when the parent has gone.
    ///
    /// # Errors
    ///
    /// A parent that cannot be reached.
    pub(super) fn attend(self, node: &Node, tell: &mpsc::Sender<End>) -> Result<(), Failure> {
        let tell = tell.clone();
        let gone = move |cause| {
            // The sender's other end lives as long as the process.
            let _ = tell.send(End { cause, status: 0 });
        };
        match self {
            Parent::Slave { master, waiter } => {
                let run = move |me| async move {
                    let outcome = attend_master(me, &master, &waiter).await;
                    gone("the master has gone");
                    outcome
                };
                node.spawn_on(0, None, run).wait().map_err(Failure::of)?;
            }
            Parent::Process(origin) => {
                let run = move |me| async move {
                    let outcome = attend_origin(me, origin).await;
                    gone("the origin has gone");
                    outcome
                };
                node.spawn_on(0, None, run).wait().map_err(Failure::of)?;
            }
            Parent::Socket(addresses, port) => {
                let stream = dial(&addresses, port).map_err(|error| {
                    Failure::Failed(format!("the origin at {addresses:?} port {port}: {error}"))
                })?;
                let reader = stream.try_clone().map_err(Failure::of)?;
                let channel = Channel::new(Framing::Packets, stream).map_err(Failure::of)?;
                channel.serve(node, reader, move || gone("the origin has gone"))?;
            }
            Parent::Stdio => {
                let channel = Channel::new(Framing::Nibbles, io::stdout()).map_err(Failure::of)?;
                channel.serve(node, io::stdin(), move || gone("the origin has gone"))?;
            }
        }
        Ok(())
    }
}

/// The pid that `-origin` has: a term in base 64.
fn origin(text: &str) -> Option<Pid> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    match Term::decode_versioned(&bytes, &Limits::DEFAULT).ok()? {
        Term::Pid(pid) => Some(pid),
        _ => None,
    }
}

fn dial(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(*address, port), CONNECT_TIME_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// OTP: `slave.erl`, `slave_start/1`. Returns when the master has gone, or says so.
async fn attend_master(mut me: Process, master: &Atom, waiter: &Atom) -> ProcessResult {
    // The waiter links to this one.
    me.trap_exit(true);
    me.monitor_node(master.as_str(), true)?;
    let started = tuple([Term::Pid(me.pid()), atom("slave_started")]);
    me.send((waiter.as_str(), master.as_str()), &started).await?;
    // OTP: `user.erl` of a slave hands everything on to the master's.
    let user = me.rpc(master.as_str(), "erlang", "whereis", (atom("user"),), LEADER_TIME_MAX).await;
    if let Ok(Term::Pid(user)) = user {
        me.node().print_by(user);
    }
    loop {
        match me.recv().await? {
            Signal::NodeLost(_) | Signal::Exit(_) => return Ok(()),
            Signal::Message(message) => {
                let term = message.term()?;
                let parts = term.as_tuple().unwrap_or_default();
                if parts == [atom("nodedown"), Term::Atom(master.clone())] {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

/// OTP: `peer.erl`, `origin_link/2`. Returns when the origin has gone.
async fn attend_origin(mut me: Process, origin: Pid) -> ProcessResult {
    me.monitor(&origin);
    if let Ok(Term::Pid(leader)) = me.call(&origin, &atom("group_leader"), LEADER_TIME_MAX).await {
        me.node().print_by(leader);
    }
    me.send(&origin, &started(&me.node())).await?;
    loop {
        if let Signal::Down(_) = me.recv().await? {
            return Ok(());
        }
    }
}

fn started(node: &Node) -> Term {
    let name = node.name().map_or_else(|| atom("nonode@nohost"), Term::Atom);
    tuple([atom("started"), name])
}

/// Bytes for the origin, and who is told that it has taken them.
type Written = (Vec<u8>, oneshot::Sender<()>);

/// The way to the origin without a connection of nodes.
#[derive(Clone)]
struct Channel {
    framing: Framing,
    /// To a thread: an origin that does not read must hold up no shard.
    writer: mpsc::Sender<Written>,
}

impl Channel {
    fn new(framing: Framing, mut writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Written>();
        let write = move || {
            for (bytes, done) in receiver {
                // An origin that has gone is noticed by who reads.
                let _ = writer.write_all(&bytes).and_then(|()| writer.flush());
                let _ = done.send(());
            }
        };
        std::thread::Builder::new().name("origin".into()).spawn(write)?;
        Ok(Channel { framing, writer: sender })
    }

    /// Sends a term. Ready when the origin has taken it, so that whoever waits for that has one
    /// under way at most.
    fn tell(&self, term: &Term) -> impl Future<Output = ()> + use<> {
        let (done, taken) = oneshot::channel();
        // Without the thread the process is about to end.
        let _ = self.writer.send((framed(self.framing, term), done));
        async move {
            let _ = taken.await;
        }
    }

    /// Does what the origin says, on a thread of its own, until it has gone.
    fn serve(
        self,
        node: &Node,
        mut reader: impl Read + Send + 'static,
        gone: impl FnOnce() + Send + 'static,
    ) -> Result<(), Failure> {
        let channel = self.clone();
        let relay = node.spawn_on(0, None, move |me| relay(me, channel)).wait();
        node.print_by(relay.map_err(Failure::of)?);
        drop(self.tell(&started(node)));
        let node = node.clone();
        let read = move || {
            let mut inbox = Inbox::new(self.framing);
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                inbox.push(&buffer[..count]);
                loop {
                    match inbox.next() {
                        Ok(Some(order)) => self.obey(&node, order),
                        Ok(None) => break,
                        Err(error) => {
                            tracing::error!(%error, "the origin sends what no origin does");
                            return gone();
                        }
                    }
                }
            }
            gone();
        };
        std::thread::Builder::new().name("origin".into()).spawn(read).map(drop).map_err(Failure::of)
    }

    fn obey(&self, node: &Node, order: Term) {
        let channel = self.clone();
        let Term::Tuple(parts) = order else { return };
        let started = match parts.as_slice() {
            [what, sequence, Term::Atom(m), Term::Atom(f), Term::List(arguments)]
                if is(what, "call") =>
            {
                let (m, f, arguments) = (m.clone(), f.clone(), arguments.clone());
                let sequence = sequence.clone();
                let call = move |me: Process| async move {
                    let [class, value] = call(&me, &m, &f, &arguments).await;
                    channel.tell(&tuple([atom("reply"), sequence, class, value])).await;
                    Ok(())
                };
                node.spawn_on(0, None, call)
            }
            [what, Term::Atom(m), Term::Atom(f), Term::List(arguments)] if is(what, "cast") => {
                let (m, f, arguments) = (m.clone(), f.clone(), arguments.clone());
                node.spawn_on(0, None, move |me: Process| async move {
                    call(&me, &m, &f, &arguments).await;
                    Ok(())
                })
            }
            [what, to, message] if is(what, "message") => {
                let (to, message) = (to.clone(), message.clone());
                node.spawn_on(0, None, move |me: Process| async move {
                    match &to {
                        // OTP: how an origin of old stops a node.
                        Term::Atom(name) => me.send(name.as_str(), &message).await?,
                        Term::Pid(pid) => me.send(pid, &message).await?,
                        _ => {}
                    }
                    Ok(())
                })
            }
            [what, Term::Pid(to), reference, reply] if is(what, "io_reply") => {
                let to = to.clone();
                let answer = tuple([atom("io_reply"), reference.clone(), reply.clone()]);
                node.spawn_on(0, None, move |me: Process| async move {
                    me.send(&to, &answer).await?;
                    Ok(())
                })
            }
            _ => return,
        };
        drop(started);
    }
}

/// Hands what is to be printed on to the origin.
async fn relay(mut me: Process, channel: Channel) -> ProcessResult {
    loop {
        if let Signal::Message(message) = me.recv().await? {
            let term = message.term()?;
            if term.as_tuple().and_then(<[Term]>::first).is_some_and(|what| is(what, "io_request"))
            {
                channel.tell(&term).await;
            }
        }
    }
}

/// Calls a function of this node; the class and the value are in the shapes of `peer`.
async fn call(me: &Process, module: &Atom, function: &Atom, arguments: &[Term]) -> [Term; 2] {
    let own = me.pid().node;
    let (module, function) = (module.as_str(), function.as_str());
    let value: Result<Term, _> =
        me.rpc(own.as_str(), module, function, arguments, Duration::MAX).await;
    let raised = |reason, stack| tuple([reason, Term::List(stack)]);
    match value {
        Ok(value) => [atom("ok"), value],
        Err(RpcError::Throw(value)) => [atom("throw"), raised(value, Vec::new())],
        Err(RpcError::Exit(reason)) => [atom("exit"), raised(reason, Vec::new())],
        Err(RpcError::Error { reason, stack }) => [atom("error"), tuple([reason, stack])],
        Err(RpcError::Signal(reason)) => [atom("crash"), reason],
        Err(error) => [atom("crash"), Term::from(error.to_string())],
    }
}

fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

fn is(term: &Term, text: &str) -> bool {
    term.as_atom().is_some_and(|atom| atom.as_str() == text)
}

fn tuple<const N: usize>(elements: [Term; N]) -> Term {
    Term::Tuple(elements.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(slave: &[&str], peer: bool, origin: &[&str]) -> Result<Option<Parent>, Failure> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Parent::of(&Flags { slave: owned(slave), peer, origin: owned(origin) })
    }

    #[test]
    fn each_way_of_being_started_is_understood() {
        assert_eq!(parent(&[], false, &[]), Ok(None));
        assert_eq!(parent(&[], true, &[]), Ok(Some(Parent::Stdio)));
        let (master, waiter) = (Atom::from_static("m@h"), Atom::from_static("slave_waiter_0"));
        let slave = parent(&["m@h", "slave_waiter_0"], false, &[]);
        assert_eq!(slave, Ok(Some(Parent::Slave { master, waiter })));
        let socket = Parent::Socket(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()], 9);
        assert_eq!(parent(&[], true, &["127.0.0.1,::1", "9"]), Ok(Some(socket)));
        // base64:encode(term_to_binary(self())) on OTP 29.
        let pid = "g1h3C2JAMTI3LjAuMC4xAAAAWQAAAABqKqKq";
        let Ok(Some(Parent::Process(pid))) = parent(&[], true, &[pid]) else { panic!("a pid") };
        assert_eq!((pid.node.as_str(), pid.id), ("b@127.0.0.1", 89));
        for wrong in [&["x"][..], &["127.0.0.1", "port"], &["nowhere", "9"], &["g1h3"]] {
            assert!(matches!(parent(&[], true, wrong), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }
}

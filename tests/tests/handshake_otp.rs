//! Our handshake machines against real nodes of every release, on blocking sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use krarup_tests::{Lab, OtpNode, Release};
use krarup_transport::epmd::client::{ANSWER_TIMEOUT, Found, Lookup, Register};
use krarup_transport::epmd::message::NodeEntry;
use krarup_transport::handshake::{
    Accept, Acceptor, AcceptorConfig, AcceptorStep, Challenge, Cookie, Decision, Established,
    Flags, HandshakeError, HandshakeErrorKind, Initiator, InitiatorConfig, InitiatorStep,
    LengthPrefix, LocalName, NodeName, Stage, Timeouts,
};
use krarup_transport::term::Creation;

/// How long a peer may take for a message.
const PATIENCE: Duration = Duration::from_secs(10);

fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("a good name")
}

fn cookie(text: &str) -> Cookie {
    Cookie::new(text).expect("a good cookie")
}

/// No challenge is outstanding but the machine's own.
fn none(_: Challenge) -> bool {
    false
}

fn initiator_config(local: &str, peer: &str) -> InitiatorConfig {
    InitiatorConfig {
        local: LocalName::Named(name(local), Creation(0x1122_3344)),
        peer: name(peer),
        flags: Flags::ours(false),
        cookie: cookie("c"),
        challenge: Challenge(0xfedc_ba98),
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
    }
}

fn acceptor(local: &str) -> Acceptor {
    let config = AcceptorConfig {
        local: name(local),
        creation: Creation(0x5566_7788),
        flags: Flags::ours(false),
        challenge: Challenge(0x89ab_cdef),
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
        holds_ack: false,
    };
    Acceptor::new(config, Instant::now())
}

/// Connects to the port that the node's epmd gives for it.
fn dial(lab: &Lab, node: &NodeName) -> TcpStream {
    let now = Instant::now();
    let mut lookup = Lookup::new(node.head(), now, ANSWER_TIMEOUT).expect("a good name");
    let mut epmd =
        TcpStream::connect((Ipv4Addr::LOCALHOST, lab.epmd_port())).expect("epmd listens");
    epmd.write_all(&lookup.take_output()).expect("a connected socket");
    let found = loop {
        let bytes = read(&mut epmd).expect("an answer");
        if let Some(found) = lookup.receive(now, &bytes).expect("a good answer") {
            break found;
        }
    };
    let Found::Node(location) = found else { panic!("{node} is not registered") };
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, location.port)).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
    socket
}

/// What arrives next; `None` at the end.
fn read(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = [0; 512];
    match socket.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => Some(buffer[..count].to_vec()),
    }
}

/// How an attempt of ours ended, and the socket it was made on.
type Dialled = (Result<InitiatorStep, HandshakeError>, TcpStream);

/// Runs an initiator until it is established, refused or asked.
fn initiate(lab: &Lab, config: InitiatorConfig) -> Dialled {
    let mut socket = dial(lab, &config.peer);
    let mut initiator = Initiator::new(config, Instant::now()).expect("a good configuration");
    loop {
        socket.write_all(&initiator.take_output()).expect("a connected socket");
        let Some(bytes) = read(&mut socket) else { return (Err(initiator.closed()), socket) };
        match initiator.receive(Instant::now(), &bytes, none) {
            Ok(InitiatorStep::Continue) => {}
            Ok(InitiatorStep::Alive) => {
                initiator.answer_alive(Instant::now(), true).expect("it was asked");
            }
            ended => return (ended, socket),
        }
    }
}

fn established(dialled: Dialled) -> (Box<Established>, TcpStream) {
    match dialled {
        (Ok(InitiatorStep::Established(established)), socket) => (established, socket),
        (ended, _) => panic!("{ended:?}"),
    }
}

fn refused(dialled: Dialled) -> HandshakeError {
    dialled.0.expect_err("it must be refused")
}

/// Runs an acceptor until it is established or refused; `decision` is its owner's.
fn accept(
    mut socket: TcpStream,
    mut acceptor: Acceptor,
    decision: Decision,
) -> (Result<AcceptorStep, HandshakeError>, TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
    let mut decision = Some(decision);
    loop {
        let Some(bytes) = read(&mut socket) else { return (Err(acceptor.closed()), socket) };
        let mut step = acceptor.receive(Instant::now(), &bytes, none);
        if let Ok(AcceptorStep::Decide(_)) = &step {
            let decision = decision.take().expect("it is asked once");
            step = acceptor.decide(Instant::now(), decision);
        }
        socket.write_all(&acceptor.take_output()).expect("a connected socket");
        if !matches!(step, Ok(AcceptorStep::Continue)) {
            return (step, socket);
        }
    }
}

/// A listener of ours, registered at the lab's epmd as long as it lives.
struct Listener {
    listener: TcpListener,
    _registration: TcpStream,
}

impl Listener {
    fn new(lab: &Lab, head: &str) -> Listener {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let now = Instant::now();
        let mut register =
            Register::new(&NodeEntry::new(head, port), now, ANSWER_TIMEOUT).expect("a good entry");
        let mut epmd =
            TcpStream::connect((Ipv4Addr::LOCALHOST, lab.epmd_port())).expect("epmd listens");
        epmd.write_all(&register.take_output()).expect("a connected socket");
        while register.creation().is_none() {
            let bytes = read(&mut epmd).expect("an answer");
            register.receive(now, &bytes).expect("a good answer");
        }
        Listener { listener, _registration: epmd }
    }

    fn next(&self) -> TcpStream {
        self.listener.accept().expect("a connection").0
    }
}

fn connected(node: &mut OtpNode, kind: &str, peer: &str) {
    node.eval_until(&format!("lists:member('{peer}', nodes({kind}))."), "true", PATIENCE);
}

#[test]
fn we_connect_to_every_release() {
    let lab = Lab::new();
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let config = || initiator_config("hidden@127.0.0.1", node.name());
        let (hidden, _socket) = established(initiate(&lab, config()));
        assert!(!hidden.visible() && hidden.flags.fragments() && hidden.flags.spawn());
        assert_eq!(hidden.peer.as_str(), node.name());
        assert_eq!(hidden.flags.native_records(), release == Release::R29);
        let local = LocalName::Named(name("visible@127.0.0.1"), Creation(7));
        let flags = Flags::ours(true);
        let (visible, _other) =
            established(initiate(&lab, InitiatorConfig { local, flags, ..config() }));
        assert!(visible.visible());
        let creation = format!("{}", visible.peer_creation);
        connected(&mut node, "hidden", "hidden@127.0.0.1");
        connected(&mut node, "visible", "visible@127.0.0.1");
        assert_eq!(node.eval("erlang:system_info(creation)."), creation);
    }
}

#[test]
fn refusals_of_every_release_are_understood() {
    let lab = Lab::new();
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let config = || initiator_config("a@127.0.0.1", node.name());

        let error =
            refused(initiate(&lab, InitiatorConfig { cookie: cookie("other"), ..config() }));
        assert_eq!(error.kind, HandshakeErrorKind::Closed);
        assert!(error.to_string().contains("give both nodes the same cookie"), "{error}");

        let socket = dial(&lab, &name(node.name()));
        let elsewhere = InitiatorConfig { peer: name("other@127.0.0.1"), ..config() };
        let mut initiator = Initiator::new(elsewhere, Instant::now()).expect("good");
        let mut socket = socket;
        socket.write_all(&initiator.take_output()).expect("a connected socket");
        let error = loop {
            let bytes = read(&mut socket).expect("an answer");
            if let Err(error) = initiator.receive(Instant::now(), &bytes, none) {
                break error;
            }
        };
        assert_eq!(error.kind, HandshakeErrorKind::WrongPeer { came: name(node.name()) });

        let own = LocalName::Named(name(node.name()), Creation(9));
        let (ended, _) = initiate(&lab, InitiatorConfig { local: own, ..config() });
        assert!(matches!(ended, Ok(InitiatorStep::Nok)), "{ended:?}");

        let name = node.name().to_owned();
        node.eval("net_kernel:allow(['friend@127.0.0.1']).");
        let error = refused(initiate(&lab, initiator_config("a@127.0.0.1", &name)));
        assert_eq!(error.kind, HandshakeErrorKind::NotAllowed);
        established(initiate(&lab, initiator_config("friend@127.0.0.1", &name)));
    }
}

#[test]
fn a_second_connection_replaces_the_first() {
    let lab = Lab::new();
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let config = || initiator_config("a@127.0.0.1", node.name());
        let (_, mut first) = established(initiate(&lab, config()));
        let (_, _second) = established(initiate(&lab, config()));
        while read(&mut first).is_some() {}
        connected(&mut node, "hidden", "a@127.0.0.1");
    }
}

#[test]
fn every_release_gives_us_a_name() {
    let lab = Lab::new();
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let local = LocalName::AskFor { host: "127.0.0.1".into() };
        let config = InitiatorConfig { local, ..initiator_config("x@127.0.0.1", node.name()) };
        let (established, _socket) = established(initiate(&lab, config));
        let (name, creation) = established.assigned.expect("a name");
        assert!(creation > Creation(3));
        connected(&mut node, "hidden", name.as_str());
    }
}

#[test]
fn every_release_connects_to_us() {
    let lab = Lab::new();
    let listener = Listener::new(&lab, "rust");
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let connect = "net_kernel:connect_node('rust@127.0.0.1').";
        let begun = node.begin(connect);
        let (step, socket) = accept(
            listener.next(),
            acceptor("rust@127.0.0.1"),
            Decision::Accept(Accept::Ok, cookie("c")),
        );
        let Ok(AcceptorStep::Established(established)) = step else { panic!("{step:?}") };
        assert_eq!(established.peer.as_str(), node.name());
        assert_eq!(node.finish(begun, connect, PATIENCE), "true");
        connected(&mut node, "hidden", "rust@127.0.0.1");
        drop(socket);
        node.eval_until("nodes(hidden).", "[]", PATIENCE);

        let refusals = [
            (Decision::Accept(Accept::Ok, cookie("other")), "wrong cookie"),
            (Decision::NotAllowed, "not allowed"),
            (Decision::Close, "closed"),
        ];
        for (decision, what) in refusals {
            let begun = node.begin(connect);
            let (step, socket) = accept(listener.next(), acceptor("rust@127.0.0.1"), decision);
            match step {
                Err(error) => assert_eq!(error.kind, HandshakeErrorKind::CookieMismatch),
                Ok(step) => assert!(matches!(step, AcceptorStep::Close), "{step:?}"),
            }
            drop(socket);
            assert_eq!(node.finish(begun, connect, PATIENCE), "false", "{what}");
        }
    }
}

#[test]
fn an_old_link_is_replaced_once_the_peer_has_proven_itself() {
    let lab = Lab::new();
    let listener = Listener::new(&lab, "rust");
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let connect = "net_kernel:connect_node('rust@127.0.0.1').";
        let begun = node.begin(connect);
        let mut socket = listener.next();
        socket.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
        let mut acceptor = acceptor("rust@127.0.0.1");
        let old_link_gone = loop {
            let bytes = read(&mut socket).expect("a message");
            match acceptor.receive(Instant::now(), &bytes, none).expect("a good peer") {
                AcceptorStep::Decide(_) => {
                    let decision = Decision::Accept(Accept::Alive, cookie("c"));
                    acceptor.decide(Instant::now(), decision).expect("it was asked");
                }
                AcceptorStep::ReplaceOldLink => {
                    assert_eq!(acceptor.stage(), Stage::OldLink);
                    break acceptor.acknowledge(Instant::now()).expect("it was asked");
                }
                step => assert!(matches!(step, AcceptorStep::Continue), "{step:?}"),
            }
            socket.write_all(&acceptor.take_output()).expect("a connected socket");
        };
        assert!(matches!(old_link_gone, AcceptorStep::Established(_)));
        socket.write_all(&acceptor.take_output()).expect("a connected socket");
        assert_eq!(node.finish(begun, connect, PATIENCE), "true");
    }
}

#[test]
fn simultaneous_attempts_end_in_one_link() {
    let lab = Lab::new();
    for release in Release::all() {
        // One name of ours is smaller than the node's, the other greater.
        for (head, ours_wins) in [("aaa", false), ("zzz", true)] {
            let listener = Listener::new(&lab, head);
            let own = format!("{head}@127.0.0.1");
            let mut node = lab.otp(release, &format!("n{release}")).start();
            let connect = format!("net_kernel:connect_node('{own}').");
            let begun = node.begin(&connect);
            // The node's attempt has arrived and waits for its status while we make our own.
            let mut theirs = listener.next();
            theirs.set_read_timeout(Some(PATIENCE)).expect("a good timeout");
            let (ended, ours) = initiate(&lab, initiator_config(&own, node.name()));
            if ours_wins {
                let (_, _ours) = established((ended, ours));
                // Its own attempt, of which the name has come, was given up.
                while read(&mut theirs).is_some() {}
                assert_eq!(node.finish(begun, &connect, PATIENCE), "true");
                connected(&mut node, "hidden", &own);
                continue;
            }
            assert!(matches!(ended, Ok(InitiatorStep::Nok)), "{ended:?}");
            let (step, _theirs) =
                accept(theirs, acceptor(&own), Decision::Accept(Accept::Ok, cookie("c")));
            assert!(matches!(step, Ok(AcceptorStep::Established(_))), "{step:?}");
            assert_eq!(node.finish(begun, &connect, PATIENCE), "true");
        }
    }
}

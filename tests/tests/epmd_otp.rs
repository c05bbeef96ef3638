//! Our epmd machines against OTP's: the same requests to both daemons, OTP's nodes and commands
//! with our server, our client with OTP's daemon.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use krarup_tests::{Lab, Release};
use krarup_transport::epmd::client::{
    ANSWER_TIMEOUT, ClientError, Found, Kill, Killed, Lookup, Names, Register, Stop, Stopped,
};
use krarup_transport::epmd::message::{NodeEntry, Request};
use krarup_transport::epmd::server::{Server, ServerConfig, Then};
use krarup_transport::term::Creation;

/// Our server on blocking sockets, a thread for each: slow, and enough to let others talk to it.
struct Daemon {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Daemon {
    fn start(config: ServerConfig) -> Daemon {
        let port = config.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is ours");
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let server = Server::new(config, Instant::now(), time.as_secs());
        let server = Arc::new(Mutex::new(server));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let socket = socket.expect("a connection");
                let (server, stopped) = (Arc::clone(&server), Arc::clone(&stopped));
                std::thread::spawn(move || serve(socket, &server, &stopped));
            }
        });
        Daemon { port, stop }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn serve(mut socket: TcpStream, server: &Mutex<Server>, stop: &AtomicBool) {
    let peer = socket.peer_addr().expect("a connected socket").ip();
    let (mut connection, _) =
        server.lock().expect("no test thread failed").accept(Instant::now(), peer, true);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        let (action, answer) = {
            let mut server = server.lock().expect("no test thread failed");
            let action = connection.receive(Instant::now(), &buffer[..count], &mut server);
            let mut answer = Vec::new();
            loop {
                let chunk = connection.output(&server);
                if chunk.is_empty() {
                    break;
                }
                answer.extend(chunk);
            }
            (action, answer)
        };
        if socket.write_all(&answer).is_err() {
            break;
        }
        match action.then {
            Then::Read => {}
            Then::Close => break,
            Then::Stop => {
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
    }
    // What the client sent too much must not turn our close into a reset of the answer.
    drop(socket.shutdown(Shutdown::Write));
    connection.closed(&mut server.lock().expect("no test thread failed"));
}

/// What a daemon does with these bytes: its answer, and whether it then closes.
#[derive(Debug, PartialEq)]
struct Reaction {
    answer: Vec<u8>,
    closes: bool,
}

fn react(port: u16, bytes: &[u8], patience: Duration) -> Reaction {
    let mut socket = connect(port);
    socket.write_all(bytes).expect("a connected socket");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(patience)).expect("a good timeout");
    let closes = loop {
        match socket.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) => break error.kind() == ErrorKind::ConnectionReset,
        }
    };
    Reaction { answer, closes }
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("epmd listens")
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body");
    [&length.to_be_bytes()[..], body].concat()
}

fn alive(name: &[u8], extra: &[u8]) -> Vec<u8> {
    let mut body = b"x\x12\x34M\0\0\x06\0\x05".to_vec();
    for field in [name, extra] {
        body.extend_from_slice(&u16::try_from(field.len()).expect("short").to_be_bytes());
        body.extend_from_slice(field);
    }
    body
}

/// Requests that real clients do not make, and some that they do.
fn requests() -> Vec<Vec<u8>> {
    let long = [b'a'; 3058];
    let mut requests = vec![
        b"\0\0".to_vec(),
        framed(&long),
        framed(&long[..3057]),
        framed(b"a\x12\x34old"),
        framed(b"\0"),
        framed(b"z"),
        framed(b"z\0"),
        framed(b"zkept"),
        framed(b"zkept\0"),
        framed(b"zkept\0\0"),
        framed(b"znobody"),
        framed(b"z\xff\xfe"),
        framed(&[b"z", &long[..254]].concat()),
        framed(&[b"z", &long[..255]].concat()),
        framed(b"n"),
        framed(b"nmore"),
        framed(b"k"),
        framed(b"skept"),
        [framed(b"n"), framed(b"n")].concat(),
        [framed(b"zkept"), vec![0]].concat(),
        framed(&alive(b"kept", b"")),
        framed(&alive(b"\xff", b"")),
        framed(&alive(b"a\0b", b"")),
        framed(&alive(b"", b"")),
        framed(b"kmore"),
        framed(b"s"),
        framed(&alive(&long[..255], b"e")),
        framed(&alive(&long[..256], b"")),
        framed(&alive("é".repeat(255).as_bytes(), b"")),
        framed(&alive(&long[..1021], b"")),
        framed(&alive(b"x1", &long[..1020])),
        framed(&alive(b"x2", &long[..1021])),
        framed(&[&alive(b"x3", b"")[..], b"trailing"].concat()),
        framed(&alive(b"x4@h", b"\0\0")),
    ];
    let whole = alive(b"cut", b"off");
    requests.extend((1..whole.len()).map(|length| framed(&whole[..length])));
    requests
}

/// An answer with the creations, which are the time of day, made equal.
fn without_creation(mut reaction: Reaction) -> Reaction {
    if let [118, 0, creation @ ..] = &mut reaction.answer[..] {
        creation.fill(0);
    }
    reaction
}

#[test]
fn our_server_reacts_as_every_release_does() {
    for release in Release::all() {
        let theirs = Lab::without_epmd();
        let _daemon = theirs.start_epmd(release);
        let ours = Lab::without_epmd();
        let _server =
            Daemon::start(ServerConfig { port: ours.epmd_port(), ..ServerConfig::default() });
        let mut kept = Vec::new();
        for port in [theirs.epmd_port(), ours.epmd_port()] {
            let mut socket = connect(port);
            socket.write_all(&framed(&alive(b"kept", b""))).expect("a connected socket");
            socket.read_exact(&mut [0; 6]).expect("an answer");
            kept.push(socket);
        }
        for request in requests() {
            let patience = Duration::from_millis(60);
            let their = without_creation(react(theirs.epmd_port(), &request, patience));
            let mut our = without_creation(react(ours.epmd_port(), &request, patience));
            if request == framed(b"n") || request == framed(b"nmore") {
                our.answer[..4].copy_from_slice(&u32::from(theirs.epmd_port()).to_be_bytes());
            }
            let shown = request[..request.len().min(40)].escape_ascii();
            assert_eq!(our, their, "OTP {release}, {} bytes: {shown}", request.len());
        }
    }
}

#[test]
fn nodes_of_every_release_use_our_server() {
    let lab = Lab::without_epmd();
    let config = ServerConfig {
        port: lab.epmd_port(),
        relaxed_command_check: true,
        ..ServerConfig::default()
    };
    let daemon = Daemon::start(config);
    let mut nodes: Vec<_> = Release::all()
        .into_iter()
        .map(|release| lab.otp(release, &format!("n{release}")).start())
        .collect();
    let names: Vec<String> = nodes.iter().map(|node| node.name().to_owned()).collect();
    for node in &mut nodes {
        for name in &names {
            assert_eq!(node.eval(&format!("net_adm:ping('{name}').")), "pong");
        }
        assert_eq!(node.eval("net_adm:ping('nobody@127.0.0.1')."), "pang");
        let listed = node.eval(
            "{ok, Names} = net_adm:names({127, 0, 0, 1}), lists:sort([N || {N, _} <- Names]).",
        );
        let heads: Vec<_> = names.iter().map(|name| format!("{:?}", &name[..3])).collect();
        assert_eq!(listed, format!("[{}]", heads.join(",")));
    }
    assert!(!daemon.stopped());
}

/// Runs a client machine over a blocking socket until it gives an answer.
fn converse<T>(
    port: u16,
    output: &[u8],
    mut receive: impl FnMut(&[u8]) -> Option<T>,
) -> (TcpStream, Option<T>) {
    let mut socket = connect(port);
    socket.write_all(output).expect("a connected socket");
    let mut buffer = [0; 512];
    loop {
        match socket.read(&mut buffer).expect("an answer") {
            0 => return (socket, None),
            count => {
                if let Some(answer) = receive(&buffer[..count]) {
                    return (socket, Some(answer));
                }
            }
        }
    }
}

#[test]
fn our_client_uses_the_daemon_of_every_release() {
    for release in Release::all() {
        let lab = Lab::without_epmd();
        let _daemon = lab.start_epmd(release);
        let port = lab.epmd_port();
        let now = Instant::now();

        let entry = NodeEntry::new("gold", 4711);
        let mut register = Register::new(&entry, now, ANSWER_TIMEOUT).expect("a good entry");
        let (registration, creation) = converse(port, &register.take_output(), |bytes| {
            register.receive(now, bytes).expect("a good answer")
        });
        assert!(creation.is_some_and(|creation| creation > Creation(1_600_000_000)));

        let mut again = Register::new(&entry, now, ANSWER_TIMEOUT).expect("a good entry");
        let (_, refused) = converse(port, &again.take_output(), |bytes| {
            again.receive(now, bytes).expect_err("the name is taken").into()
        });
        assert_eq!(refused, Some(ClientError::Refused { result: 1 }));

        let look = |name: &str| {
            let mut lookup = Lookup::new(name, now, ANSWER_TIMEOUT).expect("a good name");
            let (_, found) = converse(port, &lookup.take_output(), |bytes| {
                lookup.receive(now, bytes).expect("a good answer")
            });
            found.expect("an answer")
        };
        let Found::Node(location) = look("gold") else { panic!("it is registered") };
        assert_eq!((location.port, location.highest_version), (4711, 6));
        assert_eq!(look("nobody"), Found::Nowhere);

        let mut names = Names::new(now, ANSWER_TIMEOUT).expect("a good request");
        converse(port, &names.take_output(), |bytes| {
            names.receive(now, bytes).expect("a good answer");
            None::<()>
        });
        let list = names.closed().expect("a good answer");
        assert_eq!((list.epmd_port, list.nodes), (u32::from(port), vec![("gold".into(), 4711)]));

        let mut stop = Stop::new("gold", now, ANSWER_TIMEOUT).expect("a good name");
        converse(port, &stop.take_output(), |bytes| stop.receive(now, bytes).err());
        assert_eq!(stop.closed(), Err(ClientError::Closed), "the daemon is not relaxed");

        let kill = || {
            let mut kill = Kill::new(now, ANSWER_TIMEOUT).expect("a good request");
            converse(port, &kill.take_output(), |bytes| kill.receive(now, bytes).err());
            kill.closed()
        };
        assert_eq!(kill(), Ok(Killed::NodesAlive));
        drop(registration);
        krarup_tests::until("the name is gone", ANSWER_TIMEOUT, || {
            (look("gold") == Found::Nowhere).then_some(())
        });
        assert_eq!(kill(), Ok(Killed::Yes));
    }
}

#[test]
fn our_client_stops_names_at_our_server() {
    let lab = Lab::without_epmd();
    let port = lab.epmd_port();
    let config = ServerConfig { port, relaxed_command_check: true, ..ServerConfig::default() };
    let daemon = Daemon::start(config);
    let now = Instant::now();
    let mut bytes = Vec::new();
    Request::Alive(NodeEntry::new("gold", 1)).encode(&mut bytes).expect("a good entry");
    let mut registration = connect(port);
    registration.write_all(&bytes).expect("a connected socket");
    registration.read_exact(&mut [0; 6]).expect("an answer");
    let stop = |name: &str| {
        let mut stop = Stop::new(name, now, ANSWER_TIMEOUT).expect("a good name");
        converse(port, &stop.take_output(), |bytes| stop.receive(now, bytes).err());
        stop.closed()
    };
    assert_eq!(stop("nobody"), Ok(Stopped::Unknown));
    assert_eq!(stop("gold"), Ok(Stopped::Yes));
    assert_eq!(stop("gold"), Ok(Stopped::Unknown));
    let mut kill = Kill::new(now, ANSWER_TIMEOUT).expect("a good request");
    converse(port, &kill.take_output(), |bytes| kill.receive(now, bytes).err());
    assert_eq!(kill.closed(), Ok(Killed::Yes));
    assert!(daemon.stopped());
}

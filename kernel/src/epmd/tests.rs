//! The server under hostile clients, and the keeper while epmd comes and goes.

use super::client::{self, Killed, Stopped};
use super::{EpmdMode, Keeper, KeeperConfig, Server, ServerConfig, ServerHandle};
use krarup_transport::epmd::message::NodeEntry;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

fn config(port: u16) -> ServerConfig {
    ServerConfig { port, addresses: vec![Ipv4Addr::LOCALHOST.into()], ..ServerConfig::default() }
}

fn serve(config: &ServerConfig) -> (ServerHandle, SocketAddr) {
    let server = Server::bind(config).unwrap();
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.port());
    (server.start().unwrap(), address)
}

/// Tries until it holds, without claiming a time at which it must.
fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "never came to hold");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn knows(address: SocketAddr, name: &str) -> bool {
    matches!(client::lookup(address, name, LIMIT), Ok(Some(_)))
}

fn ends(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    match stream.read(&mut [0u8; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn keeper_config(mode: EpmdMode, name: &str, epmd: SocketAddr) -> KeeperConfig {
    KeeperConfig {
        epmd_port: epmd.port(),
        epmd_addresses: vec![Ipv4Addr::LOCALHOST.into()],
        ..KeeperConfig::new(mode, name, 4711)
    }
}

/// An address nobody listens on and no outgoing connection takes: those get ports above 32767.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 6000).unwrap() * 2;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

#[test]
fn every_request_gets_its_answer() {
    let (server, address) = serve(&ServerConfig { relaxed_command_check: true, ..config(0) });
    let one = client::register(address, &NodeEntry::new("one", 1), LIMIT).unwrap();
    let two = client::register(address, &NodeEntry::new("two", 2), LIMIT).unwrap();
    let taken = client::register(address, &NodeEntry::new("two", 3), LIMIT).unwrap_err();
    assert!(taken.is_name_taken(), "{taken}");
    assert_eq!(client::lookup(address, "one", LIMIT).unwrap().unwrap().port, 1);
    assert_eq!(client::lookup(address, "three", LIMIT).unwrap(), None);
    let list = client::names(address, LIMIT).unwrap();
    assert_eq!(list.epmd_port, u32::from(address.port()));
    assert_eq!(list.nodes, [("two".to_owned(), 2), ("one".to_owned(), 1)]);

    // A name is free again when its connection ends, and the creation moves on.
    drop(one.stream);
    eventually(|| !knows(address, "one"));
    let again = client::register(address, &NodeEntry::new("one", 1), LIMIT).unwrap();
    assert_eq!(again.creation.0, one.creation.0 + 1);

    assert_eq!(client::stop(address, "two", LIMIT).unwrap(), Stopped::Yes);
    assert_eq!(client::stop(address, "two", LIMIT).unwrap(), Stopped::Unknown);
    assert!(ends(&two.stream));
    assert_eq!(client::kill(address, LIMIT).unwrap(), Killed::Yes);
    eventually(|| !server.is_running());
    let refused = client::names(address, LIMIT).unwrap_err();
    assert!(refused.is_refused_connection(), "{refused}");
}

#[test]
fn kill_and_stop_are_refused_while_nodes_live() {
    let (server, address) = serve(&config(0));
    let _node = client::register(address, &NodeEntry::new("a", 1), LIMIT).unwrap();
    assert_eq!(client::kill(address, LIMIT).unwrap(), Killed::NodesAlive);
    assert!(client::stop(address, "a", LIMIT).is_err());
    assert!(server.is_running() && knows(address, "a"));
}

#[test]
fn both_loopbacks_are_served_beside_an_address() {
    let listed = "127.0.0.77".parse::<IpAddr>().unwrap();
    let server = Server::bind(&ServerConfig { addresses: vec![listed], ..config(0) }).unwrap();
    let port = server.port();
    let has = |ip: IpAddr| server.addresses().contains(&SocketAddr::new(ip, port));
    assert!(has(listed) && has(Ipv4Addr::LOCALHOST.into()));
    let taken = Server::bind(&config(port)).unwrap_err();
    assert_eq!(taken.source.kind(), ErrorKind::AddrInUse);
    assert!(taken.to_string().contains("another epmd"), "{taken}");
}

#[test]
fn idle_sockets_cost_nobody_anything() {
    krarup_tuning::host::raise_open_files_max();
    let files = krarup_tuning::host::open_files_max().unwrap_or(u64::MAX);
    // Both ends are in this process, and other tests need descriptors too.
    let count = (files.saturating_sub(2500) / 2).max(files / 8).min(10_000);
    let count = usize::try_from(count).unwrap();
    let (_server, address) = serve(&ServerConfig { pending_max: count + 100, ..config(0) });
    let _node = client::register(address, &NodeEntry::new("alive", 9), LIMIT).unwrap();
    let mut idle = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = TcpStream::connect(address).unwrap();
        match index % 3 {
            0 => {}
            1 => stream.write_all(&[0]).unwrap(),
            _ => stream.write_all(b"\x00\x05zal").unwrap(),
        }
        idle.push(stream);
    }
    for _ in 0..200 {
        assert!(knows(address, "alive"));
    }
    // They were all held meanwhile: a half request can still be completed.
    let mut oldest_half = idle.swap_remove(2);
    oldest_half.write_all(b"iv").unwrap();
    let mut answer = Vec::new();
    oldest_half.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [119, 1], "no node is called aliv");
}

#[test]
fn the_oldest_makes_room_and_nodes_stay() {
    let (_server, address) = serve(&ServerConfig { pending_max: 4, ..config(0) });
    let node = client::register(address, &NodeEntry::new("alive", 9), LIMIT).unwrap();
    let idle: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    for _ in 0..20 {
        assert!(knows(address, "alive"));
    }
    assert!(ends(&idle[0]), "the oldest was closed");
    node.stream.set_nonblocking(true).unwrap();
    let still = (&node.stream).read(&mut [0u8; 1]).unwrap_err();
    assert_eq!(still.kind(), ErrorKind::WouldBlock);
}

#[test]
fn trickling_does_not_prolong_a_request() {
    let timeout = Duration::from_millis(150);
    let (_server, address) = serve(&ServerConfig { packet_timeout: timeout, ..config(0) });
    let node = client::register(address, &NodeEntry::new("alive", 9), LIMIT).unwrap();
    let silent = TcpStream::connect(address).unwrap();
    let mut trickle = TcpStream::connect(address).unwrap();
    trickle.set_nodelay(true).unwrap();
    trickle.write_all(&[0x0b, 0xf0]).unwrap();
    eventually(|| trickle.write_all(b"x").is_err());
    assert!(ends(&silent));
    // A registration has no deadline.
    node.stream.set_nonblocking(true).unwrap();
    assert_eq!((&node.stream).read(&mut [0u8; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(knows(address, "alive"));
}

#[test]
fn a_reader_that_stalls_delays_nobody() {
    const NODES: usize = 400;
    krarup_tuning::host::raise_open_files_max();
    let (_server, address) = serve(&config(0));
    let nodes: Vec<_> = (0..NODES)
        .map(|index| {
            let name = format!("{index:0>250}");
            client::register(address, &NodeEntry::new(&name, 1), LIMIT).unwrap()
        })
        .collect();
    let stalled: Vec<TcpStream> = (0..8)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(2048).unwrap();
            socket.connect(&address.into()).unwrap();
            let mut stream: TcpStream = socket.into();
            stream.write_all(b"\x00\x01n").unwrap();
            stream
        })
        .collect();
    let last = format!("{:0>250}", NODES - 1);
    for _ in 0..50 {
        assert!(knows(address, &last));
    }
    // Whoever reads gets the whole list, however slowly it left.
    for mut stream in stalled {
        let mut list = Vec::new();
        stream.read_to_end(&mut list).unwrap();
        assert_eq!(list.iter().filter(|&&byte| byte == b'\n').count(), nodes.len());
    }
}

#[test]
fn nonsense_ends_only_its_own_connection() {
    let (_server, address) = serve(&config(0));
    let _node = client::register(address, &NodeEntry::new("alive", 9), LIMIT).unwrap();
    for bytes in [
        &b"\x00\x00"[..],
        b"\xff\xff",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x00\x01a",
        b"\x00\x01nn",
        b"\x00\x02z\x00",
        b"\x00\x01x",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(ends(&stream), "{bytes:?}");
    }
    assert!(knows(address, "alive"));
}

#[test]
fn a_keeper_registers_again_with_the_next_epmd() {
    let (first, address) = serve(&config(free().port()));
    let keeper = Keeper::start(keeper_config(EpmdMode::External, "kept", address)).unwrap();
    assert_eq!(keeper.address(), Some(address));
    let creation = keeper.creation();
    drop(first);
    let began = Instant::now();
    let (_second, _) = serve(&config(address.port()));
    eventually(|| knows(address, "kept"));
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    assert_eq!(keeper.creation(), creation);
    drop(keeper);
    eventually(|| !knows(address, "kept"));
}

#[test]
fn a_keeper_takes_over_when_no_epmd_answers() {
    let (first, address) = serve(&config(free().port()));
    let one = Keeper::start(keeper_config(EpmdMode::Auto, "one", address)).unwrap();
    let two = Keeper::start(keeper_config(EpmdMode::Embedded, "two", address)).unwrap();
    drop(first);
    eventually(|| knows(address, "one") && knows(address, "two"));
    // Whichever serves now, the other takes over from it.
    drop(one);
    eventually(|| knows(address, "two"));
    drop(two);
    assert!(client::names(address, LIMIT).is_err());
}

#[test]
fn many_keepers_start_at_once() {
    let address = free();
    let keepers: Vec<Keeper> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..8)
            .map(|index| {
                let config = keeper_config(EpmdMode::Auto, &format!("n{index}"), address);
                scope.spawn(move || Keeper::start(config).unwrap())
            })
            .collect();
        starting.into_iter().map(|keeper| keeper.join().unwrap()).collect()
    });
    assert_eq!(client::names(address, LIMIT).unwrap().nodes.len(), keepers.len());
}

#[test]
fn a_keeper_says_why_it_cannot() {
    let address = free();
    let none = Keeper::start(keeper_config(EpmdMode::External, "a", address)).unwrap_err();
    assert!(none.to_string().contains("krarup epmd -daemon"), "{none}");
    let (_server, address) = serve(&config(0));
    let _first = Keeper::start(keeper_config(EpmdMode::Auto, "a", address)).unwrap();
    let taken = Keeper::start(keeper_config(EpmdMode::Auto, "a", address)).unwrap_err();
    assert!(taken.to_string().contains("seems to be in use"), "{taken}");
}

#[test]
fn a_daemon_that_cannot_be_started_is_done_without() {
    let address = free();
    for command in [&["/nonexistent"][..], &["false"], &[]] {
        let daemon = Some(command.iter().map(|&word| word.to_owned()).collect());
        let config = KeeperConfig { daemon, ..keeper_config(EpmdMode::Auto, "a", address) };
        let keeper = Keeper::start(config).unwrap();
        assert!(knows(address, "a"));
        drop(keeper);
    }
}

#[test]
fn without_epmd_there_is_still_a_creation() {
    let keeper = Keeper::start(KeeperConfig::new(EpmdMode::None, "a", 1)).unwrap();
    assert!(keeper.creation().0 > 3);
    assert_eq!(keeper.address(), None);
}

#[test]
fn every_address_of_a_host_is_tried() {
    let (_server, address) = serve(&config(0));
    let _node = client::register(address, &NodeEntry::new("a", 7), LIMIT).unwrap();
    let hosts = ["127.0.0.99", "127.0.0.1"].map(|ip| ip.parse().unwrap());
    assert_eq!(client::look_up(&hosts, address.port(), "a", LIMIT).unwrap(), 7);
    let unknown = client::look_up(&hosts, address.port(), "b", LIMIT).unwrap_err();
    assert!(unknown.to_string().contains("knows no node called b"), "{unknown}");
    let none = client::look_up(&hosts[..1], address.port(), "a", LIMIT).unwrap_err();
    assert!(none.is_refused_connection(), "{none}");
    assert!(client::look_up(&[], address.port(), "a", LIMIT).is_err());
}

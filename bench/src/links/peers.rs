//! The nodes at the other ends of the links.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use krarup_transport::fabric::{self, Hello, HostId, SettleStep, SettleTimeouts, Settling};
use krarup_transport::handshake::{
    Challenge, Cookie, Flags, Initiator, InitiatorConfig, InitiatorStep, LengthPrefix, LocalName,
    NodeName, Timeouts,
};
use krarup_transport::term::Creation;

use super::PeersConfig;
use crate::epmd::allow_many_descriptors;
use crate::error::Error;
use crate::pin;
use crate::protocol::{Event, Order, tell};
use crate::worker::{self, Latencies};

/// A peer is taken for dead after 60 s without a byte.
const TICK_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for one answer of a handshake.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// A tick on a link to an Erlang node: a frame without content.
const TICK: [u8; 4] = [0; 4];

/// What peers say to show that they live, and on which connections.
#[derive(Debug)]
struct Links {
    tick: Vec<u8>,
    streams: Mutex<Vec<TcpStream>>,
}

/// The worker's side.
pub(crate) fn work() -> Result<(), Error> {
    let config: PeersConfig = worker::configuration()?;
    if let Some(core) = config.core {
        pin::pin_to(core)?;
    }
    allow_many_descriptors()?;
    let tick = if config.fabric {
        let mut tick = vec![0; fabric::frame::HEADER_BYTES];
        tick[0] = fabric::frame::kind::TICK;
        tick
    } else {
        TICK.to_vec()
    };
    let links = Arc::new(Links { tick, streams: Mutex::default() });
    let ticking = Arc::clone(&links);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK_INTERVAL);
            ticking.tick();
        }
    });
    for number in 0..config.first {
        links.add(connect(&config, number)?);
    }
    tell(&Event::Connected)?;
    let Order::Go { .. } = worker::next_order()? else { return Ok(()) };
    let mut latencies = Latencies::new();
    let start = Instant::now();
    for number in config.first..config.links {
        let before = Instant::now();
        links.add(connect(&config, number)?);
        latencies.record(before.elapsed());
    }
    tell(&latencies.measured(u64::from(config.links), start.elapsed()))?;
    let Order::Go { .. } = worker::next_order()? else { return Ok(()) };
    links.check()?;
    tell(&Event::Connected)?;
    while !matches!(worker::next_order()?, Order::Stop) {}
    Ok(())
}

impl Links {
    fn add(&self, stream: TcpStream) {
        self.lock().push(stream);
    }

    fn tick(&self) {
        for stream in self.lock().iter_mut() {
            // A link that ended is found at the end.
            let _ = stream.write(&self.tick);
        }
    }

    /// Whether every link is still there. What the node said meanwhile is passed over.
    fn check(&self) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        let (mut ended, mut streams) = (0, self.lock());
        for stream in streams.iter_mut() {
            stream.set_nonblocking(true).map_err(Error::io("cannot look at a link"))?;
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => ended += 1,
                    Ok(_) => continue,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => ended += 1,
                }
                break;
            }
        }
        if ended == 0 {
            return Ok(());
        }
        Err(Error::Broken(format!("{ended} of {} links have ended", streams.len())))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more node that connects.
fn connect(config: &PeersConfig, number: u32) -> Result<TcpStream, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::Broken(format!("link {number} of {}: {error}", config.links))
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, config.port))
        .map_err(Error::io(format!("cannot connect link {number}")))?;
    stream.set_nodelay(true).map_err(Error::io("cannot set up a link"))?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(Error::io("cannot set up a link"))?;
    let name = |text: &str| NodeName::parse(text).map_err(|error| failed(&error));
    let flags = Flags::HIDDEN;
    let initiator = InitiatorConfig {
        local: LocalName::Named(name(&format!("peer{number}@127.0.0.1"))?, Creation(1)),
        peer: name(&config.node)?,
        flags: if config.fabric { flags.with(Flags::FABRIC) } else { flags },
        cookie: Cookie::new(&config.cookie).map_err(|error| failed(&error))?,
        challenge: challenge(number),
        timeouts: Timeouts::default(),
        prefix: LengthPrefix::Two,
    };
    let now = Instant::now();
    let mut initiator = Initiator::new(initiator, now).map_err(|error| failed(&error))?;
    let established = loop {
        write(&mut stream, &initiator.take_output())?;
        let mut buffer = [0; 1024];
        let count = read(&mut stream, &mut buffer)?;
        if count == 0 {
            return Err(failed(&initiator.closed()));
        }
        match initiator.receive(Instant::now(), &buffer[..count], |_| false) {
            Ok(InitiatorStep::Continue) => {}
            Ok(InitiatorStep::Established(established)) => break established,
            Ok(other) => return Err(failed(&format!("{other:?}"))),
            Err(error) => return Err(failed(&error)),
        }
    };
    if established.flags.contains(Flags::FABRIC) {
        settle(&mut stream, &established.leftover, number).map_err(|error| failed(&error))?;
    } else if config.fabric {
        return Err(failed(&"the node offers no lanes"));
    }
    Ok(stream)
}

/// Agrees on a session with one lane, which stays on this connection: the host is not told.
fn settle(stream: &mut TcpStream, leftover: &[u8], number: u32) -> Result<(), Error> {
    let mut session_half = [0; 16];
    session_half[..4].copy_from_slice(&challenge(number).0.to_le_bytes());
    session_half[4..8].copy_from_slice(&number.to_le_bytes());
    let hello = Hello {
        versions: fabric::VERSIONS,
        shards: 1,
        lanes_max: 1,
        asks_checksum: false,
        frame_bytes_max: fabric::FRAME_PAYLOAD_BYTES_MAX,
        port: 0,
        host: HostId::UNKNOWN,
        session_half,
        unix_name: Vec::new(),
    };
    let timeouts = SettleTimeouts::default();
    let mut settling = Settling::new(fabric::Role::Initiator, hello, timeouts, Instant::now());
    let mut bytes = leftover.to_vec();
    loop {
        write(stream, &settling.take_output())?;
        if bytes.is_empty() {
            let mut buffer = [0; 1024];
            let count = read(stream, &mut buffer)?;
            if count == 0 {
                return Err(Error::Broken("the node ended the link".into()));
            }
            bytes.extend_from_slice(&buffer[..count]);
        }
        match settling.receive(Instant::now(), &bytes) {
            Ok(SettleStep::Continue) => bytes.clear(),
            Ok(SettleStep::Settled(_)) => return Ok(()),
            Ok(other) => return Err(Error::Broken(format!("expected a session, got {other:?}"))),
            Err(error) => return Err(Error::Broken(error.to_string())),
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).map_err(Error::io("cannot write to the node"))
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, Error> {
    stream.read(buffer).map_err(Error::io("no answer from the node"))
}

/// Different for each link. Nothing here is secret.
fn challenge(number: u32) -> Challenge {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Challenge(now.subsec_nanos() ^ number.wrapping_mul(0x9e37_79b9))
}

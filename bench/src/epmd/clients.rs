//! The clients: names that stay registered, and look-ups in turn.
//!
//! One thread has all clients, each with one request under way. It takes their answers in turn,
//! which costs the fewest system calls: the server should be what limits the rate.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use krarup::epmd::client::{Registration, register};
use krarup_transport::epmd::message::NodeEntry;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with,
};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::EpmdClientConfig;
use crate::error::Error;
use crate::pin;
use crate::protocol::{Event, Order, tell};
use crate::worker::{self, Latencies};

/// What is registered for every name.
pub(super) const PORT: u16 = 5555;
/// Clients come from so many loopback addresses, so that no port of theirs is used up.
const ADDRESSES: u8 = 16;
/// Longest wait for one answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// An epmd that takes no more names needs room for the look-ups, and a few connections more.
const ROOM: u32 = 8;

/// The worker's side.
pub(crate) fn ask() -> Result<(), Error> {
    let config: EpmdClientConfig = worker::configuration()?;
    if let Some(core) = config.core {
        pin::pin_to(core)?;
    }
    allow_many_descriptors()?;
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, config.port);
    let (registrations, refusal) =
        if config.registers { register_all(server, &config) } else { (Vec::new(), None) };
    let held = u32::try_from(registrations.len()).unwrap_or(u32::MAX);
    let names = if config.registers { held } else { config.names };
    tell(&Event::Registered { names, refusal })?;
    let Order::Go { .. } = worker::next_order()? else { return Ok(()) };
    let mut clients = Clients::new(server, config.clients, names.max(1))?;
    let start = Instant::now();
    let warm = start + Duration::from_nanos(config.warm_up_ns);
    let end = warm + Duration::from_nanos(config.duration_ns);
    clients.run(warm, end)?;
    tell(&clients.latencies.measured(clients.total, end - warm))
}

/// Every name on its own connection, until all are there or the server refuses one.
fn register_all(
    server: SocketAddrV4,
    config: &EpmdClientConfig,
) -> (Vec<Registration>, Option<String>) {
    let mut registrations = Vec::with_capacity(config.names as usize);
    for number in 0..config.names {
        let name = name(number);
        let entry = NodeEntry::new(&name, PORT);
        match register(SocketAddr::V4(server), &entry, ANSWER_TIME_MAX) {
            Ok(registration) => registrations.push(registration),
            Err(error) => {
                let kept = number.saturating_sub(config.clients + ROOM);
                registrations.truncate(kept as usize);
                return (registrations, Some(error.to_string()));
            }
        }
    }
    (registrations, None)
}

fn name(number: u32) -> String {
    format!("bench-{number:05}")
}

/// Lets this process have as many descriptors as the system lets it.
pub(crate) fn allow_many_descriptors() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(|errno| Error::io("cannot raise the limit of descriptors")(errno.into()))
}

/// One request under way.
#[derive(Debug)]
struct UnderWay {
    socket: OwnedFd,
    since: Instant,
}

struct Clients {
    server: SocketAddrV4,
    names: u32,
    under_way: Vec<Option<UnderWay>>,
    /// Which name is asked for next: a step through all that visits none twice in a row.
    next: u32,
    latencies: Latencies,
    total: u64,
}

/// Prime, so that steps of it meet every name.
const STEP: u32 = 7919;

impl Clients {
    fn new(server: SocketAddrV4, clients: u32, names: u32) -> Result<Clients, Error> {
        let mut all = Clients {
            server,
            names,
            under_way: Vec::new(),
            next: 0,
            latencies: Latencies::new(),
            total: 0,
        };
        for client in 0..clients {
            let asked = all.start(client as usize)?;
            all.under_way.push(Some(asked));
        }
        Ok(all)
    }

    fn run(&mut self, warm: Instant, end: Instant) -> Result<(), Error> {
        loop {
            for client in 0..self.under_way.len() {
                let Some(asked) = self.under_way[client].take() else { continue };
                check_answer(&asked.socket)?;
                let now = Instant::now();
                self.total += 1;
                if now >= end {
                    return Ok(());
                }
                if now >= warm {
                    self.latencies.record(now - asked.since);
                }
                drop(asked);
                self.under_way[client] = Some(self.start(client)?);
            }
        }
    }

    /// Connects from the client's address and asks for the next name.
    fn start(&mut self, client: usize) -> Result<UnderWay, Error> {
        let failed = |errno: rustix::io::Errno| Error::io("cannot ask epmd")(errno.into());
        let since = Instant::now();
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(failed)?;
        // 127.0.0.2 and those behind it; the names come from 127.0.0.1.
        let host = (client % usize::from(ADDRESSES)) as u8 + 2;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0)).map_err(failed)?;
        connect(&socket, &self.server).map_err(failed)?;
        let number = self.next % self.names;
        self.next = (self.next + STEP) % self.names;
        let name = name(number);
        let mut request = Vec::with_capacity(32);
        request.extend_from_slice(&(name.len() as u16 + 1).to_be_bytes());
        request.push(b'z');
        request.extend_from_slice(name.as_bytes());
        send(&socket, &request, SendFlags::NOSIGNAL).map_err(failed)?;
        Ok(UnderWay { socket, since })
    }
}

/// Reads a PORT2_RESP that found the node.
fn check_answer(socket: &OwnedFd) -> Result<(), Error> {
    let failed = |errno: rustix::io::Errno| Error::io("no answer from epmd")(errno.into());
    let mut answer = [0; 64];
    let mut filled = 0;
    while filled < 4 {
        let (_, count) = recv(socket, &mut answer[filled..], RecvFlags::empty()).map_err(failed)?;
        if count == 0 {
            return Err(Error::Broken("epmd closed a connection without an answer".into()));
        }
        filled += count;
    }
    let [port_high, port_low] = PORT.to_be_bytes();
    if answer[..4] != [119, 0, port_high, port_low] {
        return Err(Error::Broken(format!("epmd did not find the node: {:?}", &answer[..filled])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;

    #[test]
    fn every_client_is_answered() {
        let port = crate::run::free_port().expect("a port");
        std::thread::spawn(move || bare::serve(port));
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut clients = loop {
            match Clients::new(server, 20, 100) {
                Ok(clients) => break clients,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        let start = Instant::now();
        clients.run(start, start + Duration::from_millis(50)).expect("answers");
        assert!(clients.total > 20 && clients.latencies.count() > 0);
    }

    #[test]
    fn steps_meet_every_name() {
        for names in [1, 10, 1000, 10_000, 15_000] {
            let mut seen = vec![false; names as usize];
            let mut next = 0;
            for _ in 0..names {
                seen[next as usize] = true;
                next = (next + STEP) % names;
            }
            assert!(seen.into_iter().all(|seen| seen), "{names} names");
        }
    }
}

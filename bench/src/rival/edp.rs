//! The crate `edp_client`, with `erltf` terms, on tokio, to a BEAM node: it never listens.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use edp_client::control::ControlMessage;
use edp_client::{Connection, ConnectionConfig, OwnedReadHalf};
use erltf::OwnedTerm;
use erltf::types::{Atom, ExternalPid};

use super::measure::{self, Channel, Received};
use crate::error::Error;
use crate::protocol::{Role, WorkerConfig};

/// The port on which this crate asks for names; another cannot be given.
const EPMD_PORT: u16 = 4369;
/// Creation of the pids of this side.
const CREATION: u32 = 1;
/// How long the crate waits for a message.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn work(config: &WorkerConfig) -> Result<(), Error> {
    if config.role == Role::Server {
        return Err(Error::Usage("edp_client never listens".into()));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("cannot start tokio"))?
        .block_on(measure::client(config, async |node: &str, port| {
            Link::connect(config, node, port).await
        }))
}

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Broken(format!("{doing}: {error}"))
}

/// Answers one look-up with this port, on an address of its own, since the crate insists on one.
fn answer_one_lookup(port: u16) -> Result<Ipv4Addr, Error> {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 77, high, low.clamp(1, 254));
    let listener = TcpListener::bind((address, EPMD_PORT)).map_err(Error::io(format!(
        "edp_client asks on port {EPMD_PORT} only, which is taken: stop the epmd that has it"
    )))?;
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut request = [0; 512];
        if !matches!(stream.read(&mut request), Ok(count) if count > 0) {
            return;
        }
        // PORT2_RESP: tag, result, port, type, protocol, versions, name, extra.
        let mut answer = vec![119, 0];
        answer.extend_from_slice(&port.to_be_bytes());
        answer.extend_from_slice(&[77, 0, 0, 6, 0, 5, 0, 6]);
        answer.extend_from_slice(b"server\0\0");
        // It reports a look-up that fails.
        let _ = stream.write_all(&answer);
    });
    Ok(address)
}

struct Link {
    connection: Connection,
    incoming: OwnedReadHalf,
    node: Atom,
    body: OwnedTerm,
    peers: Vec<ExternalPid>,
}

impl Link {
    async fn connect(config: &WorkerConfig, node: &str, port: u16) -> Result<Link, Error> {
        let epmd = answer_one_lookup(port)?;
        let settings = ConnectionConfig::new_hidden(&config.node, node, &config.cookie)
            .with_epmd_host(epmd.to_string())
            .with_creation(CREATION);
        let mut connection = Connection::new(settings);
        connection.connect().await.map_err(failed("cannot connect"))?;
        let incoming = connection
            .take_read_half()
            .ok_or_else(|| Error::Broken("the connection has no socket".into()))?;
        // The crate leaves Nagle's algorithm on, which costs 44 ms for each message.
        let socket: &tokio::net::TcpStream = incoming.as_ref();
        socket.set_nodelay(true).map_err(Error::io("cannot set up the socket"))?;
        let body = OwnedTerm::Binary(vec![b'k'; config.size]);
        Ok(Link { connection, incoming, node: Atom::new(&config.node), body, peers: Vec::new() })
    }

    fn own(&self, pair: u32) -> ExternalPid {
        ExternalPid::new(self.node.clone(), pair + 1, 0, CREATION)
    }

    async fn tell(&mut self, pair: u32, message: OwnedTerm) -> Result<(), Error> {
        let (own, peer) = (self.own(pair), self.peers.get(pair as usize).cloned());
        let peer = peer.ok_or_else(|| Error::Broken(format!("pair {pair} has no other side")))?;
        self.connection.send_message(own, peer, message).await.map_err(failed("cannot send"))
    }

    async fn next(&mut self) -> Result<(u32, Vec<OwnedTerm>), Error> {
        loop {
            let next =
                Connection::receive_message_from_read_half(&mut self.incoming, TIMEOUT).await;
            let (control, payload) = next.map_err(failed("cannot receive"))?;
            let to = match control {
                ControlMessage::Send { to_pid, .. } => to_pid,
                _ => continue,
            };
            return match (to, payload) {
                (OwnedTerm::Pid(to), Some(OwnedTerm::Tuple(parts))) => {
                    Ok((to.id.saturating_sub(1), parts))
                }
                other => Err(Error::Broken(format!("expected a tuple, came {other:?}"))),
            };
        }
    }

    fn numbered(&self, sequence: u64) -> OwnedTerm {
        OwnedTerm::Tuple(vec![integer(sequence), self.body.clone()])
    }
}

impl Channel for Link {
    async fn begin(&mut self, pairs: u32) -> Result<(), Error> {
        for pair in 0..pairs {
            let own = self.own(pair);
            let question = vec![OwnedTerm::Pid(own.clone()), OwnedTerm::atom("whois")];
            self.connection
                .send_to_name(own, Atom::new("bench"), OwnedTerm::Tuple(question))
                .await
                .map_err(failed("cannot send"))?;
            match self.next().await?.1.as_slice() {
                [_, OwnedTerm::Pid(peer)] => self.peers.push(peer.clone()),
                other => return Err(Error::Broken(format!("expected a pid, came {other:?}"))),
            }
        }
        Ok(())
    }

    async fn ask(&mut self, pair: u32, sequence: u64) -> Result<(), Error> {
        let own = OwnedTerm::Pid(self.own(pair));
        let message = OwnedTerm::Tuple(vec![own, self.numbered(sequence)]);
        self.tell(pair, message).await
    }

    async fn send(&mut self, sequence: u64) -> Result<(), Error> {
        self.tell(0, self.numbered(sequence)).await
    }

    async fn finish(&mut self, total: u64) -> Result<(), Error> {
        self.tell(0, OwnedTerm::Tuple(vec![OwnedTerm::atom("done"), integer(total)])).await
    }

    async fn receive(&mut self) -> Result<Received, Error> {
        let (pair, parts) = self.next().await?;
        let number = |term: &OwnedTerm| {
            let number = term.as_integer().and_then(|number| u64::try_from(number).ok());
            number.ok_or_else(|| Error::Broken(format!("expected a number, came {term:?}")))
        };
        match parts.as_slice() {
            [OwnedTerm::Atom(_), received] => Ok(Received::Credit(number(received)?)),
            [sequence, OwnedTerm::Binary(body)] => {
                Ok(Received::Message { pair, sequence: number(sequence)?, size: body.len() })
            }
            other => Err(Error::Broken(format!("expected an answer, came {other:?}"))),
        }
    }

    fn counts_credit(&self) -> bool {
        true
    }
}

fn integer(value: u64) -> OwnedTerm {
    OwnedTerm::integer(i64::try_from(value).unwrap_or(i64::MAX))
}

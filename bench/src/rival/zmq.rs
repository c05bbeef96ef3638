//! ZeroMQ, from the system's libzmq: REQ and REP for round trips, PUSH and PULL for streams,
//! DEALER on both sides for pairs. Its defaults otherwise.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use zmq::SocketType;

use super::measure::{self, Channel, Received, Sink, wait_for_stop};
use crate::error::Error;
use crate::protocol::{Event, Role, WorkerConfig, tell};
use crate::work::Work;

/// Each message starts with its pair (4 bytes) and its sequence number (8 bytes).
const HEADER_BYTES: usize = 12;
/// The pair of the message that ends a stream.
const DONE: u32 = u32::MAX;

pub(super) fn work(config: &WorkerConfig) -> Result<(), Error> {
    let context = zmq::Context::new();
    let kind = |client, server| if config.role == Role::Client { client } else { server };
    let kind = match config.work {
        Work::Rtt => kind(SocketType::REQ, SocketType::REP),
        Work::Stream => kind(SocketType::PUSH, SocketType::PULL),
        _ => SocketType::DEALER,
    };
    let socket = context.socket(kind).map_err(failed("cannot make a socket"))?;
    match config.role {
        Role::Server => serve(&socket, config),
        Role::Client => run(measure::client(config, async |_: &str, port| {
            let endpoint = format!("tcp://127.0.0.1:{port}");
            socket.connect(&endpoint).map_err(failed("cannot connect"))?;
            let mut message = vec![b'k'; config.size];
            message[..HEADER_BYTES].fill(0);
            Ok(Client { socket: &socket, message, incoming: zmq::Message::new() })
        })),
    }
}

/// The version of libzmq.
pub(super) fn version() -> String {
    let (major, minor, patch) = zmq::version();
    format!("libzmq {major}.{minor}.{patch}")
}

/// Runs what never waits but inside the library.
fn run<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(Error::Broken("nothing here can wait".into())),
    }
}

fn failed(doing: &'static str) -> impl FnOnce(zmq::Error) -> Error {
    move |error| Error::Broken(format!("{doing}: {error}"))
}

fn serve(socket: &zmq::Socket, config: &WorkerConfig) -> Result<(), Error> {
    socket.bind("tcp://127.0.0.1:*").map_err(failed("cannot listen"))?;
    let endpoint = socket.get_last_endpoint().map_err(failed("cannot read the port"))?;
    let port = endpoint.ok().and_then(|text| text.rsplit(':').next()?.parse().ok());
    let port = port.ok_or_else(|| Error::Broken("libzmq tells no port".into()))?;
    tell(&Event::Ready { node: config.node.clone(), port, version: None })?;
    let mut message = zmq::Message::new();
    let mut sink = Sink::new(config);
    loop {
        socket.recv(&mut message, 0).map_err(failed("cannot receive"))?;
        if config.work != Work::Stream {
            let answer = std::mem::replace(&mut message, zmq::Message::new());
            socket.send(answer, 0).map_err(failed("cannot answer"))?;
            continue;
        }
        match read(&message)? {
            Received::Message { sequence, size, .. } => {
                sink.take(sequence, size)?;
            }
            Received::Done(total) => {
                sink.done(total)?;
                return wait_for_stop();
            }
            Received::Credit(_) | Received::End => {}
        }
    }
}

fn read(message: &[u8]) -> Result<Received, Error> {
    let header = message.split_first_chunk::<4>().and_then(|(pair, rest)| {
        let (sequence, _) = rest.split_first_chunk::<8>()?;
        Some((u32::from_le_bytes(*pair), u64::from_le_bytes(*sequence)))
    });
    match header {
        Some((DONE, total)) => Ok(Received::Done(total)),
        Some((pair, sequence)) => Ok(Received::Message { pair, sequence, size: message.len() }),
        None => Err(Error::Broken(format!("a message of {} bytes", message.len()))),
    }
}

struct Client<'a> {
    socket: &'a zmq::Socket,
    message: Vec<u8>,
    incoming: zmq::Message,
}

impl Client<'_> {
    fn send_numbered(&mut self, pair: u32, sequence: u64) -> Result<(), Error> {
        self.message[..4].copy_from_slice(&pair.to_le_bytes());
        self.message[4..HEADER_BYTES].copy_from_slice(&sequence.to_le_bytes());
        self.socket.send(&self.message[..], 0).map_err(failed("cannot send"))
    }
}

impl Channel for Client<'_> {
    async fn begin(&mut self, _: u32) -> Result<(), Error> {
        Ok(())
    }

    async fn ask(&mut self, pair: u32, sequence: u64) -> Result<(), Error> {
        self.send_numbered(pair, sequence)
    }

    async fn send(&mut self, sequence: u64) -> Result<(), Error> {
        self.send_numbered(0, sequence)
    }

    async fn finish(&mut self, total: u64) -> Result<(), Error> {
        self.send_numbered(DONE, total)
    }

    async fn receive(&mut self) -> Result<Received, Error> {
        self.socket.recv(&mut self.incoming, 0).map_err(failed("cannot receive"))?;
        read(&self.incoming)
    }

    fn counts_credit(&self) -> bool {
        false
    }
}

//! The crate `erl_dist`, with `eetf` terms, on smol: to itself, or to a BEAM node.

use erl_dist::handshake::{ClientSideHandshake, HandshakeStatus, ServerSideHandshake};
use erl_dist::message::{Message, Receiver, Sender, channel};
use erl_dist::node::{Creation, LocalNode, PeerNode};
use erl_dist::term::{Atom, BigInteger, Binary, FixInteger, Pid, Term, Tuple};
use smol::net::{Ipv4Addr, TcpListener, TcpStream};

use super::measure::{self, Channel, Received, Sink, wait_for_stop};
use crate::error::Error;
use crate::protocol::{Event, Role, WorkerConfig, tell};
use crate::work::Work;

/// Name of the process that introduces itself.
const SERVICE: &str = "bench";

pub(super) fn work(config: &WorkerConfig) -> Result<(), Error> {
    smol::block_on(async {
        match config.role {
            Role::Server => serve(config).await,
            Role::Client => {
                measure::client(config, async |_: &str, port| connect(config, port).await).await
            }
        }
    })
}

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Broken(format!("{doing}: {error}"))
}

fn local(config: &WorkerConfig) -> Result<LocalNode, Error> {
    let name = config.node.parse().map_err(failed("the node's name"))?;
    Ok(LocalNode::new(name, Creation::random()))
}

async fn connect(config: &WorkerConfig, port: u16) -> Result<Link, Error> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(Error::io("cannot connect to the other side"))?;
    stream.set_nodelay(true).map_err(Error::io("cannot set up the socket"))?;
    let local = local(config)?;
    let mut handshake = ClientSideHandshake::new(stream, local.clone(), &config.cookie);
    let version = erl_dist::LOWEST_DISTRIBUTION_PROTOCOL_VERSION;
    handshake.execute_send_name(version).await.map_err(failed("the handshake"))?;
    let (stream, peer) = handshake.execute_rest(true).await.map_err(failed("the handshake"))?;
    Ok(Link::new(stream, &local, &peer, config))
}

struct Link {
    sender: Sender<TcpStream>,
    receiver: Receiver<TcpStream>,
    node: String,
    creation: u32,
    body: Term,
    /// The other side's process for each pair.
    peers: Vec<Pid>,
}

impl Link {
    fn new(stream: TcpStream, local: &LocalNode, peer: &PeerNode, config: &WorkerConfig) -> Link {
        let (sender, receiver) = channel(stream, local.flags & peer.flags);
        Link {
            sender,
            receiver,
            node: config.node.clone(),
            creation: local.creation.get(),
            body: Binary { bytes: vec![b'k'; config.size] }.into(),
            peers: Vec::new(),
        }
    }

    /// The process of this side that a pair has; number 0 is not given to any.
    fn own(&self, pair: u32) -> Pid {
        Pid::new(self.node.clone(), pair + 1, 0, self.creation)
    }

    async fn tell(&mut self, to: Pid, message: Term) -> Result<(), Error> {
        self.sender.send(Message::send(to, message)).await.map_err(failed("cannot send"))
    }

    /// The next message: to which process, or to which name.
    async fn next(&mut self) -> Result<Option<(Addressee, Term)>, Error> {
        loop {
            match self.receiver.recv().await {
                Ok(Message::Send(message)) => {
                    return Ok(Some((Addressee::Process(message.to_pid.id), message.message)));
                }
                Ok(Message::SendSender(message)) => {
                    return Ok(Some((Addressee::Process(message.to_pid.id), message.message)));
                }
                Ok(Message::RegSend(message)) => {
                    return Ok(Some((Addressee::Service, message.message)));
                }
                Ok(_) => {}
                Err(erl_dist::message::RecvError::Closed) => return Ok(None),
                Err(error) => return Err(failed("cannot receive")(error)),
            }
        }
    }

    fn peer(&self, pair: u32) -> Result<Pid, Error> {
        let found = self.peers.get(pair as usize).cloned();
        found.ok_or_else(|| Error::Broken(format!("pair {pair} has no other side")))
    }

    fn numbered(&self, sequence: u64) -> Term {
        tuple([integer(sequence), self.body.clone()])
    }
}

enum Addressee {
    Service,
    /// Its number.
    Process(u32),
}

impl Channel for Link {
    async fn begin(&mut self, pairs: u32) -> Result<(), Error> {
        for pair in 0..pairs {
            let own = self.own(pair);
            let question = tuple([own.clone().into(), atom("whois")]);
            let question = Message::reg_send(own, Atom::from(SERVICE), question);
            self.sender.send(question).await.map_err(failed("cannot send"))?;
            match self.next().await?.map(|(_, message)| parts(message)) {
                Some([_, Term::Pid(peer)]) => self.peers.push(peer),
                other => return Err(Error::Broken(format!("expected a pid, came {other:?}"))),
            }
        }
        Ok(())
    }

    async fn ask(&mut self, pair: u32, sequence: u64) -> Result<(), Error> {
        let message = tuple([self.own(pair).into(), self.numbered(sequence)]);
        self.tell(self.peer(pair)?, message).await
    }

    async fn send(&mut self, sequence: u64) -> Result<(), Error> {
        self.tell(self.peer(0)?, self.numbered(sequence)).await
    }

    async fn finish(&mut self, total: u64) -> Result<(), Error> {
        self.tell(self.peer(0)?, tuple([atom("done"), integer(total)])).await
    }

    async fn receive(&mut self) -> Result<Received, Error> {
        let Some((to, message)) = self.next().await? else { return Ok(Received::End) };
        let pair = match to {
            Addressee::Process(number) => number.saturating_sub(1),
            Addressee::Service => 0,
        };
        read(pair, parts(message))
    }

    fn counts_credit(&self) -> bool {
        true
    }
}

fn read(pair: u32, [first, second]: [Term; 2]) -> Result<Received, Error> {
    if let Term::Atom(tag) = &first {
        let number = number(&second)?;
        return Ok(if tag.name == "credit" {
            Received::Credit(number)
        } else {
            Received::Done(number)
        });
    }
    let Term::Binary(body) = second else {
        return Err(Error::Broken(format!("expected a binary, came {second:?}")));
    };
    Ok(Received::Message { pair, sequence: number(&first)?, size: body.bytes.len() })
}

async fn serve(config: &WorkerConfig) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(Error::io("cannot listen on loopback"))?;
    let port = listener.local_addr().map_err(Error::io("cannot read the port"))?.port();
    tell(&Event::Ready { node: config.node.clone(), port, version: None })?;
    let (stream, _) = listener.accept().await.map_err(Error::io("cannot accept"))?;
    stream.set_nodelay(true).map_err(Error::io("cannot set up the socket"))?;
    let local = local(config)?;
    let mut handshake = ServerSideHandshake::new(stream, local.clone(), &config.cookie);
    handshake.execute_recv_name().await.map_err(failed("the handshake"))?;
    let (stream, peer) =
        handshake.execute_rest(HandshakeStatus::Ok).await.map_err(failed("the handshake"))?;
    answer(Link::new(stream, &local, &peer, config), config).await
}

/// Introduces a process to each that asks; they answer, or take the stream.
async fn answer(mut link: Link, config: &WorkerConfig) -> Result<(), Error> {
    let mut introduced = 0;
    let mut sink = Sink::new(config);
    let mut client = None;
    while let Some((to, message)) = link.next().await? {
        let [first, second] = parts(message);
        match (to, first) {
            (Addressee::Service, Term::Pid(from)) => {
                let pid = link.own(introduced);
                introduced += 1;
                client = Some(from.clone());
                link.tell(from, tuple([atom("pid"), pid.into()])).await?;
            }
            (Addressee::Process(_), Term::Pid(from)) => link.tell(from, second).await?,
            (_, first) => match read(0, [first, second])? {
                Received::Message { sequence, size, .. } => {
                    if let (Some(credit), Some(client)) = (sink.take(sequence, size)?, &client) {
                        let credit = tuple([atom("credit"), integer(credit)]);
                        link.tell(client.clone(), credit).await?;
                    }
                }
                Received::Done(total) => {
                    sink.done(total)?;
                    return wait_for_stop();
                }
                Received::Credit(_) | Received::End => {}
            },
        }
    }
    if config.work == Work::Stream {
        return Err(Error::Broken("the sender ended early".into()));
    }
    wait_for_stop()
}

fn atom(text: &str) -> Term {
    Atom::from(text).into()
}

fn tuple(elements: [Term; 2]) -> Term {
    Tuple { elements: elements.into() }.into()
}

/// The elements of a pair; two empty tuples for anything else.
fn parts(term: Term) -> [Term; 2] {
    let nothing = || Term::from(Tuple { elements: Vec::new() });
    match term {
        Term::Tuple(tuple) => tuple.elements.try_into().unwrap_or_else(|_| [nothing(), nothing()]),
        _ => [nothing(), nothing()],
    }
}

fn integer(value: u64) -> Term {
    match i32::try_from(value) {
        Ok(small) => FixInteger { value: small }.into(),
        Err(_) => BigInteger::from(value).into(),
    }
}

fn number(term: &Term) -> Result<u64, Error> {
    let number = match term {
        Term::FixInteger(small) => u64::try_from(small.value).ok(),
        Term::BigInteger(big) => u64::try_from(&big.value).ok(),
        _ => None,
    };
    number.ok_or_else(|| Error::Broken(format!("expected a number, came {term:?}")))
}

//! The floor: what sockets do on this machine with nothing on top, over TCP and over Unix sockets.
//!
//! Both sides are processes of their own with `TCP_NODELAY` on. They check sequence numbers as
//! every other peer does, and walk through several megabytes of buffers, so that they do not live
//! in the cache as no real program does.

mod echo;
mod pairs;
mod rate;
mod rtt;
mod socket;
mod stream;

use socket::{Listener, Ring, Socket};

use crate::error::Error;
use crate::protocol::{Event, Order, Role, WorkerConfig, tell};
use crate::work::Work;
use crate::worker::next_order;

/// Runs one side, until the measurement is done or the other side is gone.
pub(crate) fn work(config: &WorkerConfig) -> Result<(), Error> {
    match config.role {
        Role::Server => serve(config),
        Role::Client => dial(config),
    }
}

fn serve(config: &WorkerConfig) -> Result<(), Error> {
    let listener = Listener::bind(config.kind, &config.cookie)
        .map_err(Error::io("cannot listen on this host"))?;
    let port = listener.port().map_err(Error::io("cannot read the port"))?;
    tell(&Event::Ready { node: config.node.clone(), port, version: None })?;
    let mut socket = listener.accept(config.kind).map_err(Error::io("cannot accept"))?;
    match config.work {
        Work::Rtt => rtt::serve(&mut socket, config.size),
        Work::Stream => stream::receive(&mut socket, config),
        Work::Pairs | Work::Rate => echo::serve(&mut socket),
        other => Err(no_such_work(other)),
    }?;
    // The coordinator still wants to see what this process cost.
    while !matches!(next_order()?, Order::Stop) {}
    Ok(())
}

fn dial(config: &WorkerConfig) -> Result<(), Error> {
    tell(&Event::Ready { node: config.node.clone(), port: 0, version: None })?;
    let mut socket = None;
    loop {
        match (next_order()?, &mut socket) {
            (Order::Dial { port, .. }, _) => {
                let connected = Socket::connect(config.kind, port, &config.cookie);
                socket = Some(connected.map_err(Error::io("cannot connect to the other side"))?);
                tell(&Event::Connected)?;
            }
            (Order::Go { .. }, Some(socket)) => match config.work {
                Work::Rtt => rtt::measure(socket, config)?,
                Work::Stream => stream::send(socket, config)?,
                Work::Pairs => pairs::measure(socket, config)?,
                Work::Rate => rate::measure(socket, config)?,
                other => return Err(no_such_work(other)),
            },
            (Order::Go { .. }, None) => {
                return Err(Error::Broken("expected dial before go".into()));
            }
            (Order::Stop, _) => return Ok(()),
        }
    }
}

fn no_such_work(work: Work) -> Error {
    Error::Usage(format!("plain sockets have no {}", work.name()))
}

//! The options of connections, as the kernel keeps them: for those to come, and for each that is
//! up what was set since.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use glommio::sync::Semaphore;
use krarup_transport::io::{Listener, SocketOptions};
use krarup_transport::term::Atom;
use krarup_tuning::option::{OptionName, Owner, SocketOption};

use super::KernelShard;
use crate::net_kernel::ConnectionId;
use crate::node::NodeConfig;
use crate::shard::bundle::LinkId;
use crate::shard::options::{Before, refused, set_on_socket};
use crate::shard::wake::answered;
use crate::shard::{Shard, ShardMessage};
use crate::sockets::OptionsError;

/// The options of a node's connections.
pub(in crate::shard) struct LiveOptions {
    /// Of sockets that this node connects.
    connect: RefCell<Rc<SocketOptions>>,
    /// Of sockets that it accepts.
    accept: RefCell<Rc<SocketOptions>>,
    /// What was set for connections to come since the node began.
    new: RefCell<Vec<SocketOption>>,
    connections: RefCell<HashMap<ConnectionId, Settings>>,
    listeners: RefCell<Vec<Rc<Listener>>>,
    /// One change at a time: it may have to be taken back.
    turn: Semaphore,
}

/// The options of one connection.
struct Settings {
    /// What counted when it began. Most connections share it.
    began: Rc<SocketOptions>,
    /// What was set for it, for sockets that it gets later.
    set: Vec<SocketOption>,
}

impl LiveOptions {
    pub(super) fn new(config: &NodeConfig) -> Self {
        LiveOptions {
            connect: RefCell::new(Rc::new(with_list(config, &config.connect_options))),
            accept: RefCell::new(Rc::new(with_list(config, &config.listen_options))),
            new: RefCell::default(),
            connections: RefCell::default(),
            listeners: RefCell::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Options of sockets that this node connects.
    pub(in crate::shard) fn connect(&self) -> Rc<SocketOptions> {
        Rc::clone(&self.connect.borrow())
    }

    /// Options of sockets that it accepts.
    pub(in crate::shard) fn accept(&self) -> Rc<SocketOptions> {
        Rc::clone(&self.accept.borrow())
    }

    /// Lets options for connections to come reach a listener.
    pub(in crate::shard) fn listens(&self, listener: &Rc<Listener>) {
        let options = self.accept.borrow();
        for option in &options.more {
            // As those it accepts will tell, one by one.
            let _ = option.apply(listener.as_fd());
        }
        self.listeners.borrow_mut().push(Rc::clone(listener));
    }

    pub(in crate::shard) fn listens_no_more(&self, listener: &Rc<Listener>) {
        self.listeners.borrow_mut().retain(|other| !Rc::ptr_eq(other, listener));
    }

    pub(super) fn forget(&self, connection: ConnectionId) {
        self.connections.borrow_mut().remove(&connection);
    }

    /// What a connection begins with that its sockets do not have already.
    fn initial(&self) -> Vec<SocketOption> {
        let of_links = |option: &&SocketOption| option.name().owner() == Owner::Link;
        let of_links = |list: &RefCell<Rc<SocketOptions>>| -> Vec<SocketOption> {
            list.borrow().more.iter().filter(of_links).cloned().collect()
        };
        // How much may wait on a link has no direction.
        let of_links = SocketOption::merged(of_links(&self.accept), &of_links(&self.connect));
        SocketOption::merged(of_links, &self.new.borrow())
    }
}

/// The options of all sockets, with those of `list`.
///
/// Whether small segments wait is one setting for both directions.
// OTP: inet_tcp_dist.erl, nodelay/0, which comes after the options.
fn with_list(config: &NodeConfig, list: &[SocketOption]) -> SocketOptions {
    let of_both = &config.socket_options;
    let nodelay = of_both.iter().rev().find_map(|option| match option {
        SocketOption::Nodelay(on) => Some(*on),
        _ => None,
    });
    let nodelay = config.dist_nodelay.or(nodelay).unwrap_or(true);
    let mut more = SocketOption::merged(of_both.clone(), list);
    more.retain(|option| option.name() != OptionName::Nodelay);
    SocketOptions { nodelay, more }
}

impl KernelShard {
    /// Sets options of an open connection (OTP: `net_kernel:setopts/2`).
    pub(crate) async fn set_options(
        self: &Rc<Self>,
        node: &str,
        options: Vec<SocketOption>,
    ) -> Result<(), OptionsError> {
        let shard = self.alive_shard()?;
        let connection = self.connection_of(node)?;
        check(&options)?;
        let _turn =
            self.options.turn.acquire_permit(1).await.map_err(|_| OptionsError::NotAlive)?;
        let mut done: Vec<(usize, Before)> = Vec::new();
        for owner in self.shards_of(connection) {
            let all = options.clone();
            let set = move |shard: &Rc<Shard>| shard.set_options_of(connection, &all);
            match on_shard(&shard, owner, set).await {
                Some(Ok(before)) => done.push((owner, before)),
                Some(Err(error)) => {
                    for (owner, before) in done {
                        on_shard(&shard, owner, move |shard| shard.restore_options(&before)).await;
                    }
                    return Err(error);
                }
                None => return Err(OptionsError::NotAlive),
            }
        }
        set_spin(&shard, &options).await;
        let mut connections = self.options.connections.borrow_mut();
        // It may have ended meanwhile.
        let settings = connections.get_mut(&connection).ok_or(OptionsError::NoConnection)?;
        settings.set = SocketOption::merged(std::mem::take(&mut settings.set), &options);
        Ok(())
    }

    /// Sets options of connections to come (OTP: `net_kernel:setopts(new, Options)`).
    pub(crate) async fn set_new_options(
        self: &Rc<Self>,
        options: Vec<SocketOption>,
    ) -> Result<(), OptionsError> {
        let shard = self.alive_shard()?;
        check(&options)?;
        let live = &self.options;
        let _turn = live.turn.acquire_permit(1).await.map_err(|_| OptionsError::NotAlive)?;
        // What is accepted begins as the listening socket is.
        let mut done: Vec<(Rc<Listener>, Vec<SocketOption>)> = Vec::new();
        let listeners = live.listeners.borrow().clone();
        for listener in listeners {
            match set_on_socket(listener.as_fd(), &options) {
                Ok(before) => done.push((listener, before)),
                Err(error) => {
                    for (listener, before) in done {
                        let _ = set_on_socket(listener.as_fd(), &before);
                    }
                    return Err(error);
                }
            }
        }
        for list in [&live.connect, &live.accept] {
            let mut list = list.borrow_mut();
            let list = Rc::make_mut(&mut list);
            for option in &options {
                if let SocketOption::Nodelay(on) = option {
                    list.nodelay = *on;
                }
            }
            list.more = SocketOption::merged(std::mem::take(&mut list.more), &options);
            list.more.retain(|option| option.name() != OptionName::Nodelay);
        }
        let new = live.new.take();
        live.new.replace(SocketOption::merged(new, &options));
        set_spin(&shard, &options).await;
        Ok(())
    }

    /// The present values of options of an open connection (OTP: `net_kernel:getopts/2`).
    pub(crate) async fn options(
        self: &Rc<Self>,
        node: &Atom,
        names: Vec<OptionName>,
    ) -> Result<Vec<SocketOption>, OptionsError> {
        let shard = self.alive_shard()?;
        let connection = self.connection_of(node.as_str())?;
        let first = {
            let bundles = self.bundles.borrow();
            let first = bundles.get(&connection).and_then(|bundle| bundle.lanes().first().cloned());
            first.ok_or(OptionsError::NoConnection)?
        };
        let id = LinkId { connection, lane: first.lane };
        let asked = names.clone();
        let read = on_shard(&shard, first.shard, move |shard| shard.read_options(id, &asked)).await;
        let values = read.ok_or(OptionsError::NotAlive)?;
        let all = names.iter().zip(values);
        Ok(all.filter_map(|(name, value)| value.or_else(|| self.kept(connection, *name))).collect())
    }

    /// The value of an option that the connection's socket does not have: as it was set, or as it
    /// is unless set.
    fn kept(&self, connection: ConnectionId, name: OptionName) -> Option<SocketOption> {
        let find = |all: &[SocketOption]| all.iter().find(|option| option.name() == name).cloned();
        let connections = self.options.connections.borrow();
        let Settings { began, set } = connections.get(&connection)?;
        find(set).or_else(|| find(&began.more)).or(match name {
            OptionName::Nodelay => Some(SocketOption::Nodelay(began.nodelay)),
            OptionName::SendTimeout => Some(SocketOption::SendTimeout(None)),
            OptionName::SendTimeoutClose => Some(SocketOption::SendTimeoutClose(false)),
            OptionName::DelaySend => Some(SocketOption::DelaySend(false)),
            OptionName::ShowEconnreset => Some(SocketOption::ShowEconnreset(false)),
            _ => None,
        })
    }

    /// A connection has just been given its links: they get what was set for those to come.
    pub(in crate::shard) fn begin_options(&self, connection: ConnectionId) {
        let settings = Settings { began: self.options.connect(), set: self.options.initial() };
        let is_plain = settings.set.is_empty();
        self.options.connections.borrow_mut().insert(connection, settings);
        if is_plain {
            return;
        }
        let lanes = self.bundles.borrow().get(&connection).map(|bundle| Arc::clone(bundle.lanes()));
        for lane in lanes.iter().flat_map(|lanes| lanes.iter()) {
            self.give_options(LinkId { connection, lane: lane.lane });
        }
    }

    /// A link has just been given a socket: it gets what was set for the connection.
    pub(in crate::shard) fn give_options(&self, link: LinkId) {
        let connections = self.options.connections.borrow();
        let Some(Settings { set, .. }) = connections.get(&link.connection) else { return };
        if set.is_empty() {
            return;
        }
        let options = set.clone();
        drop(connections);
        let work = move |shard: &Rc<Shard>| {
            let entry = shard.links.borrow().get(&link).cloned();
            if let Some(entry) = entry
                && let Err(error) = shard.set_link_options(&entry, &options)
            {
                tracing::warn!(node = %entry.node(), %error, "a connection has not all its options");
            }
        };
        self.tell_lane(link, ShardMessage::Run(Box::new(work)));
    }

    fn alive_shard(&self) -> Result<Rc<Shard>, OptionsError> {
        let shard = self.shard.borrow().upgrade().filter(|_| self.is_alive());
        shard.ok_or(OptionsError::NotAlive)
    }

    fn connection_of(&self, node: &str) -> Result<ConnectionId, OptionsError> {
        let nodes = self.machine.borrow().nodes();
        let found = nodes.into_iter().find(|info| info.name.as_str() == node);
        found.map(|info| info.connection).ok_or(OptionsError::NoConnection)
    }
}

fn check(options: &[SocketOption]) -> Result<(), OptionsError> {
    options
        .iter()
        .try_for_each(|option| option.check().map_err(|error| refused(option.name(), error)))
}

/// Has all shards spin as long as the options say, if they do.
async fn set_spin(shard: &Rc<Shard>, options: &[SocketOption]) {
    let spin = options.iter().rev().find_map(|option| match option {
        SocketOption::SpinUs(microseconds) => Some(Duration::from_micros((*microseconds).into())),
        _ => None,
    });
    let Some(spin) = spin else { return };
    for other in 0..shard.count {
        on_shard(shard, other, move |shard| shard.io().handle().set_spin(spin, spin)).await;
    }
}

/// Does something on a shard, behind all that it was told before; nothing if it has stopped.
async fn on_shard<T: Send + 'static>(
    shard: &Rc<Shard>,
    number: usize,
    work: impl FnOnce(&Rc<Shard>) -> T + Send + 'static,
) -> Option<T> {
    let (done, answer) = oneshot::channel();
    let work = move |shard: &Rc<Shard>| {
        let _ = done.send(work(shard));
    };
    shard.tell(number, ShardMessage::Run(Box::new(work)));
    answered(answer).await
}

//! The options of a shard's links, set and read while they are in use.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use krarup_transport::link::WaterMarks;
use krarup_tuning::option::{OptionName, Owner, SocketOption};

use super::bundle::LinkId;
use super::{LinkEntry, Shard};
use crate::net_kernel::ConnectionId;
use crate::sockets::OptionsError;

/// What the links of a shard had before, by which a change is taken back.
#[derive(Debug, Default)]
pub(super) struct Before(Vec<(LinkId, Vec<SocketOption>)>);

impl Shard {
    /// Sets options of all links of a connection that this shard keeps: all, or none.
    pub(super) fn set_options_of(
        &self,
        connection: ConnectionId,
        options: &[SocketOption],
    ) -> Result<Before, OptionsError> {
        let mut before = Before::default();
        for link in self.links_of(connection) {
            match self.set_link_options(&link, options) {
                Ok(old) => before.0.push((link.id(), old)),
                Err(error) => {
                    self.restore_options(&before);
                    return Err(error);
                }
            }
        }
        Ok(before)
    }

    /// Gives the links what they had.
    pub(super) fn restore_options(&self, before: &Before) {
        for (id, old) in &before.0 {
            let link = self.links.borrow().get(id).cloned();
            if let Some(link) = link {
                // What it had before is a value that it can have.
                let _ = self.set_link_options(&link, old);
            }
        }
    }

    /// Sets options of one link; gives what it had.
    pub(super) fn set_link_options(
        &self,
        link: &LinkEntry,
        options: &[SocketOption],
    ) -> Result<Vec<SocketOption>, OptionsError> {
        let handle = self.io().handle();
        // One that waits for another socket gets them with it.
        let on_socket =
            |set: &dyn Fn(BorrowedFd<'_>) -> Result<Vec<SocketOption>, OptionsError>| {
                let done = link.key().and_then(|key| handle.with_socket(key, |it| set(it.as_fd())));
                done.unwrap_or(Ok(Vec::new()))
            };
        let mut before = on_socket(&|socket| set_on_socket(socket, options))?;
        if let Some(marks) = self.io().with(link, |state| state.machine.water_marks()) {
            let new = options.iter().fold(marks, |marks, option| match option {
                SocketOption::HighWatermark(high) => WaterMarks { high: *high as usize, ..marks },
                SocketOption::LowWatermark(low) => WaterMarks { low: *low as usize, ..marks },
                _ => marks,
            });
            if new != marks {
                before.push(SocketOption::HighWatermark(number(marks.high)));
                before.push(SocketOption::LowWatermark(number(marks.low)));
                self.io().with(link, |state| {
                    state.machine.set_water_marks(new);
                    state.make_room();
                });
                self.io().wrote_later(link);
            }
        }
        for option in options {
            if option.name().owner() != Owner::Link {
                continue;
            }
            before.extend(self.read_option(link, option.name()));
            match option {
                SocketOption::Buffer(bytes) => {
                    if let Some(key) = link.key() {
                        handle.set_receive_bytes_max(key, *bytes as usize);
                    }
                }
                SocketOption::FragmentSize(bytes) => {
                    self.io().with(link, |state| state.machine.set_fragment_bytes(*bytes));
                }
                _ => {}
            }
        }
        Ok(before)
    }

    /// The value that an option of a link has now; nothing where it has none.
    pub(super) fn read_option(&self, link: &LinkEntry, name: OptionName) -> Option<SocketOption> {
        let handle = self.io().handle();
        match name {
            OptionName::Buffer => {
                let bytes = handle.receive_bytes_max(link.key()?)?;
                Some(SocketOption::Buffer(number(bytes)))
            }
            OptionName::HighWatermark => {
                let marks = self.io().with(link, |state| state.machine.water_marks())?;
                Some(SocketOption::HighWatermark(number(marks.high)))
            }
            OptionName::LowWatermark => {
                let marks = self.io().with(link, |state| state.machine.water_marks())?;
                Some(SocketOption::LowWatermark(number(marks.low)))
            }
            OptionName::FragmentSize => {
                let bytes = self.io().with(link, |state| state.machine.fragment_bytes())?;
                Some(SocketOption::FragmentSize(bytes))
            }
            OptionName::SpinUs => {
                let spin = handle.spin().as_micros();
                Some(SocketOption::SpinUs(u32::try_from(spin).unwrap_or(u32::MAX)))
            }
            name => handle.with_socket(link.key()?, |socket| {
                let unknown = name.is_tcp_only() && socket.is_unix();
                if unknown { None } else { name.read(socket.as_fd()).ok() }
            })?,
        }
    }

    /// As [`Shard::read_option`], by the number of the link.
    pub(super) fn read_options(
        &self,
        id: LinkId,
        names: &[OptionName],
    ) -> Vec<Option<SocketOption>> {
        let link = self.links.borrow().get(&id).map(Rc::clone);
        let read = |name: &OptionName| self.read_option(link.as_ref()?, *name);
        names.iter().map(read).collect()
    }
}

/// Sets those of `options` that are a socket's: all, or none. Gives what it had, in an order in
/// which that can be set again.
pub(super) fn set_on_socket(
    socket: BorrowedFd<'_>,
    options: &[SocketOption],
) -> Result<Vec<SocketOption>, OptionsError> {
    let is_buffer =
        |option: &&SocketOption| matches!(option.name(), OptionName::Sndbuf | OptionName::Recbuf);
    let is_sockets =
        |option: &&SocketOption| matches!(option.name().owner(), Owner::Socket | Owner::Tcp);
    // The kernel no longer tunes a buffer whose size was set, and that cannot be taken back: they
    // come last, when nothing can fail any more.
    let (buffers, others): (Vec<_>, Vec<_>) =
        options.iter().filter(is_sockets).partition(is_buffer);
    let mut before = Vec::new();
    for option in others.into_iter().chain(buffers) {
        let old = option.name().read(socket).ok().map(|old| match old {
            // The kernel says twice what was asked for.
            SocketOption::Sndbuf(bytes) => SocketOption::Sndbuf(bytes / 2),
            SocketOption::Recbuf(bytes) => SocketOption::Recbuf(bytes / 2),
            old => old,
        });
        if let Err(error) = option.apply(socket) {
            before.iter().rev().for_each(|old: &SocketOption| {
                let _ = old.apply(socket);
            });
            return Err(refused(option.name(), error));
        }
        before.extend(old);
    }
    Ok(before)
}

/// That the system does not take an option.
pub(super) fn refused(option: OptionName, error: io::Error) -> OptionsError {
    OptionsError::Refused { option, error: error.into() }
}

fn number(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_gets_all_options_or_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let socket = stream.as_fd();
        let read = |name: OptionName| name.read(socket).expect("known");
        let sndbuf = read(OptionName::Sndbuf);
        let wrong = [
            SocketOption::Sndbuf(70_000),
            SocketOption::Keepalive(true),
            SocketOption::Congestion("nonsense".into()),
        ];
        let error = set_on_socket(socket, &wrong).expect_err("no such algorithm");
        assert!(
            matches!(error, OptionsError::Refused { option: OptionName::Congestion, .. }),
            "{error}"
        );
        assert_eq!(read(OptionName::Keepalive), SocketOption::Keepalive(false));
        assert_eq!(read(OptionName::Sndbuf), sndbuf);
        let before = set_on_socket(socket, &wrong[..2]).expect("usual options");
        assert_eq!(read(OptionName::Sndbuf), SocketOption::Sndbuf(140_000));
        set_on_socket(socket, &before).expect("what it had");
        assert_eq!(read(OptionName::Keepalive), SocketOption::Keepalive(false));
        assert_eq!(read(OptionName::Sndbuf), sndbuf);
    }
}

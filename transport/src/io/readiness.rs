//! Which of many sockets have something to do.

// `epoll` has no safe interface in the standard library.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A set of sockets and what has happened to them since it was asked last.
///
/// One system call tells about any number of sockets, and the set is itself a descriptor that can
/// be waited for: a shard parks on one io_uring poll however many links it has, and an idle link
/// costs no memory in the process. Events are edges: each is told once, and the socket must then
/// be read (or written) until it would block.
#[derive(Debug)]
pub struct Readiness(OwnedFd);

/// Which edges to tell about. Ends and errors are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something arrived.
    Read,
    /// Something arrived, or there is room to send again.
    ReadWrite,
    /// There is room to send again.
    Write,
}

/// What happened to one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number that the socket was added with.
    pub key: u64,
    /// There is something to receive, an end, or an error.
    pub readable: bool,
    /// There is room to send, or an error.
    pub writable: bool,
}

/// Room for the events of one call.
pub struct Events {
    list: Box<[libc::epoll_event]>,
    filled: usize,
}

impl Events {
    /// Room for `count` events; more are told at the next call.
    #[must_use]
    pub fn with_capacity(count: usize) -> Events {
        let none = libc::epoll_event { events: 0, u64: 0 };
        Events { list: vec![none; count.max(1)].into_boxed_slice(), filled: 0 }
    }

    /// The events of the last call.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        const READABLE: u32 =
            (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();
        const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();
        // Copied out field by field: the kernel's structure is packed.
        self.list[..self.filled].iter().map(|&libc::epoll_event { events, u64: key }| Event {
            key,
            readable: events & READABLE != 0,
            writable: events & WRITABLE != 0,
        })
    }
}

impl Readiness {
    /// An empty set.
    ///
    /// # Errors
    /// When the process or the host is out of descriptors.
    pub fn new() -> io::Result<Readiness> {
        // SAFETY: no pointer is passed; the result is checked.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is fresh and ours alone.
        Ok(Readiness(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds a socket under the number `key`. What is there already counts as an event.
    ///
    /// # Errors
    /// Those of `epoll_ctl`, among them the limit `fs.epoll.max_user_watches`.
    pub fn add(&self, fd: &impl AsRawFd, key: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), key, interest)
    }

    /// Changes what is told about a socket. A condition that holds counts as an event.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn change(&self, fd: &impl AsRawFd, key: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), key, interest)
    }

    /// Takes a socket out of the set.
    pub fn remove(&self, fd: &impl AsRawFd) {
        // The only failure is that it was not in the set.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, Interest::Read);
    }

    /// Collects what has happened, and waits for it if nothing has, for up to `patience`, which is
    /// rounded down to milliseconds: not at all when that is zero. Returns how many events there are.
    ///
    /// # Errors
    /// Those of `epoll_wait`, which are programming errors.
    pub fn wait(&self, events: &mut Events, patience: Duration) -> io::Result<usize> {
        let patience_ms = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
        events.filled = 0;
        let room = libc::c_int::try_from(events.list.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the list has room for as many events as stated.
        let result = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.list.as_mut_ptr(), room, patience_ms)
        };
        match check(result) {
            Ok(filled) => {
                events.filled = usize::try_from(filled).unwrap_or(0);
                Ok(events.filled)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: RawFd,
        key: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let edges = match interest {
            Interest::Read => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET,
            Interest::ReadWrite => {
                libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET | libc::EPOLLOUT
            }
            Interest::Write => libc::EPOLLET | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event { events: edges.cast_unsigned(), u64: key };
        // SAFETY: the event outlives the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The result of a system call.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

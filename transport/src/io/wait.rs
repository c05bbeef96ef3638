//! Waiting with glommio: for a descriptor, for a while, for the first of two.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use glommio::io::{PollState, PollableFd};
use glommio::timer::Timer;

use super::readiness::Interest;
use super::watch::{Registration, Watch};

/// A wait for one descriptor to become readable or writable, which can be kept and polled.
///
/// It registers once with the driver of the shard it is polled in, or, where none runs (or the
/// descriptor is in use there already), with glommio's ring. Dropping it withdraws the
/// registration. The descriptor must stay open while the wait is in use.
#[derive(Debug)]
pub struct Wait {
    fd: Descriptor,
    direction: Direction,
    armed: Option<Armed>,
}

/// Where a wait is registered.
#[derive(Debug)]
enum Armed {
    /// With the set that the driver of this thread looks at.
    Watch(Registration),
    /// With glommio's ring.
    Ring(PollableFd<Descriptor>, PollState),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// A descriptor that somebody else owns.
#[derive(Clone, Copy, Debug)]
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Wait {
    /// Waits until `fd` can be read from, has hung up, or has failed.
    #[must_use]
    pub fn readable(fd: &impl AsRawFd) -> Wait {
        Wait { fd: Descriptor(fd.as_raw_fd()), direction: Direction::Read, armed: None }
    }

    /// Waits until `fd` can be written to, has hung up, or has failed.
    #[must_use]
    pub fn writable(fd: &impl AsRawFd) -> Wait {
        Wait { fd: Descriptor(fd.as_raw_fd()), direction: Direction::Write, armed: None }
    }

    /// Whether a registration is made and not yet told.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// Registers at the first call; ready when the descriptor is. The next call after that
    /// registers anew.
    ///
    /// # Errors
    /// What the ring answers to the poll request.
    ///
    /// # Panics
    /// Outside of a glommio executor.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.armed.is_none()
            && let Some(watch) = Watch::current()
        {
            let interest = match self.direction {
                Direction::Read => Interest::Read,
                Direction::Write => Interest::Write,
            };
            if let Ok(registration) = watch.register(self.fd.0, interest, context) {
                self.armed = Some(Armed::Watch(registration));
                return Poll::Pending;
            }
        }
        self.poll_armed(context)
    }

    /// As [`Wait::poll`], but always with the ring: for the driver, which is the one to look at
    /// the set.
    pub(crate) fn poll_ring(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_armed(context)
    }

    fn poll_armed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let armed = match &mut self.armed {
            Some(armed) => armed,
            none => none.insert(Armed::Ring(PollableFd::new(self.fd)?, PollState::new())),
        };
        let result = match armed {
            Armed::Watch(registration) => registration.poll(context).map(Ok),
            Armed::Ring(fd, state) => match self.direction {
                Direction::Read => fd.poll_readable(context, state),
                Direction::Write => fd.poll_writable(context, state),
            },
        };
        if result.is_ready() {
            self.armed = None;
        }
        result.map_err(io::Error::from)
    }

    /// Resolves when the descriptor is ready.
    ///
    /// # Errors
    /// As [`Wait::poll`].
    pub async fn ready(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll(context)).await
    }
}

/// Suspends the task for at least `duration`.
///
/// # Panics
/// Outside of a glommio executor.
pub async fn sleep(duration: Duration) {
    Timer::new(duration).await;
}

/// What `future` results in, or [`io::ErrorKind::TimedOut`] when that takes longer than `limit`.
///
/// # Errors
/// Those of `future`, and the time-out.
///
/// # Panics
/// Outside of a glommio executor.
pub async fn within<T>(
    limit: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match select(pin!(future), pin!(Timer::new(limit))).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} ms", limit.as_millis()),
        )),
    }
}

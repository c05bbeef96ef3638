//! Waiting for descriptors that are no links, through the shard's own readiness set.
//!
//! glommio looks at its ring only when nothing is runnable or its preempt timer fires. While a
//! shard's driver spins, an accept or a handshake that waits in the ring would be late by that
//! timer. So a driver lends the set that it looks at all the time anyway.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::bell::Bell;
use super::readiness::{Event, Interest, Readiness};

/// Set in the keys of waits; links never have it.
const WAIT: u64 = 1 << 63;

/// The key of the bell. No wait has it: there are never so many.
const BELL: u64 = u64::MAX;

/// A readiness set with tasks that wait for descriptors in it.
pub struct Watch {
    readiness: Readiness,
    waits: RefCell<Waits>,
    open: Cell<bool>,
}

#[derive(Default)]
struct Waits {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Free,
    Waiting(Waker),
    Fired,
}

/// A wait for one descriptor in the set; withdrawn when dropped.
pub(super) struct Registration {
    watch: Rc<Watch>,
    fd: RawFd,
    key: u64,
}

thread_local! {
    /// The set of the driver that runs in this thread.
    static CURRENT: RefCell<Option<Rc<Watch>>> = const { RefCell::new(None) };
}

impl Watch {
    /// A new set.
    ///
    /// # Errors
    /// When the process or the host is out of descriptors.
    pub fn new() -> io::Result<Rc<Watch>> {
        let readiness = Readiness::new()?;
        Ok(Rc::new(Watch { readiness, waits: RefCell::default(), open: Cell::new(true) }))
    }

    /// The set itself, for adding links. Their keys must be below 2^63.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Has a bell end the waiting for this set, for as long as the bell exists.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn hear(&self, bell: &Bell) -> io::Result<()> {
        self.readiness.add(bell, BELL, Interest::Read)
    }

    /// Makes this the set that waits of this thread use. The caller promises to look at it often,
    /// until it calls [`Watch::close`].
    pub fn install(self: &Rc<Watch>) {
        CURRENT.with_borrow_mut(|current| *current = Some(self.clone()));
    }

    /// Ends the use of this set: waits go on in glommio's ring.
    pub fn close(self: &Rc<Watch>) {
        self.open.set(false);
        CURRENT.with_borrow_mut(|current| {
            if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, self)) {
                *current = None;
            }
        });
        let entries: Vec<State> = {
            let mut waits = self.waits.borrow_mut();
            waits.entries.iter_mut().map(|entry| entry.take_waker()).collect()
        };
        for state in entries {
            state.wake();
        }
    }

    /// Wakes who waits for this event; gives it back when it belongs to a link.
    pub fn deliver(&self, event: Event) -> Option<Event> {
        if event.key & WAIT == 0 {
            return Some(event);
        }
        let (index, generation) = split(event.key);
        let state = match self.waits.borrow_mut().entries.get_mut(index as usize) {
            Some(entry) if entry.generation == generation => entry.take_waker(),
            _ => State::Free,
        };
        state.wake();
        None
    }

    /// The set of this thread's driver, if one runs.
    pub(super) fn current() -> Option<Rc<Watch>> {
        CURRENT.with_borrow(Option::clone)
    }

    /// Registers a wait. Fails when the descriptor is in the set already.
    pub(super) fn register(
        self: Rc<Watch>,
        fd: RawFd,
        interest: Interest,
        context: &Context<'_>,
    ) -> io::Result<Registration> {
        let key = self.waits.borrow_mut().occupy(context.waker().clone());
        match self.readiness.add(&fd, key, interest) {
            Ok(()) => Ok(Registration { watch: self, fd, key }),
            Err(error) => {
                self.waits.borrow_mut().vacate(key);
                Err(error)
            }
        }
    }
}

impl Registration {
    /// Ready once the descriptor was told to be, or the set is no longer looked at.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if !self.watch.open.get() {
            return Poll::Ready(());
        }
        let (index, _) = split(self.key);
        let mut waits = self.watch.waits.borrow_mut();
        match waits.entries.get_mut(index as usize).map(|entry| &mut entry.state) {
            Some(State::Waiting(waker)) => {
                waker.clone_from(context.waker());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.watch.readiness.remove(&self.fd);
        self.watch.waits.borrow_mut().vacate(self.key);
    }
}

impl Waits {
    fn occupy(&mut self, waker: Waker) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            // As many waits as descriptors, which the kernel bounds far below 2^32.
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let entry = &mut self.entries[index as usize];
        entry.state = State::Waiting(waker);
        WAIT | u64::from(entry.generation) << 32 | u64::from(index)
    }

    fn vacate(&mut self, key: u64) {
        let (index, _) = split(key);
        if let Some(entry) = self.entries.get_mut(index as usize) {
            // A late event of this wait must not wake the next one in its place.
            entry.generation = entry.generation.wrapping_add(1) & (u32::MAX >> 1);
            entry.state = State::Free;
            self.free.push(index);
        }
    }
}

impl Entry {
    fn take_waker(&mut self) -> State {
        match self.state {
            State::Waiting(_) => std::mem::replace(&mut self.state, State::Fired),
            State::Free | State::Fired => State::Free,
        }
    }
}

impl State {
    /// Called without a borrow of the table: a waker may drop the wait.
    fn wake(self) {
        if let State::Waiting(waker) = self {
            waker.wake();
        }
    }
}

/// Index and generation of a wait's key.
fn split(key: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = (key & !WAIT).to_be_bytes();
    (u32::from_be_bytes([e, f, g, h]), u32::from_be_bytes([a, b, c, d]))
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("fd", &self.fd).finish_non_exhaustive()
    }
}

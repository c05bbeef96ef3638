//! What a supervisor does when a child ends: events and the time in, orders out.
//!
//! Orders are carried out one by one, and each is reported before the next one is taken. Ends of
//! children that come meanwhile wait until all are carried out, as they wait in the mailbox of
//! OTP's supervisors.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use krarup_transport::term::{Pid, Term};

use super::spec::{Intensity, Restart, Strategy};

/// A child by its place in the order of starting. Places are never given to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) usize);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    /// Start a child, and report [`Machine::started`] or [`Machine::failed_to_start`].
    Start(Place),
    /// End a child, and report [`Machine::stopped`].
    Stop(Place, Pid),
    /// End the supervisor, whose children have ended.
    End(Ending),
}

/// Why a supervisor gives up.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// There were more restarts than its intensity allows.
    TooManyRestarts,
    /// A child could not be started when the supervisor began.
    FailedToStart(Place, Term),
}

/// Why something asked for is not done (OTP: the errors of `terminate_child` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Running,
    NotFound,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Running(Pid),
    /// It has ended, or was never started.
    Stopped,
    /// Its specification is gone.
    Deleted,
}

struct Child {
    restart: Restart,
    state: State,
}

pub(super) struct Machine {
    strategy: Strategy,
    intensity: Intensity,
    children: Vec<Child>,
    /// When children were restarted lately: at most one more than the intensity allows.
    restarts: VecDeque<Instant>,
    orders: VecDeque<Order>,
    /// All children were started once.
    has_begun: bool,
}

impl Machine {
    /// A supervisor of children in the order of starting; the first orders start them.
    pub(super) fn new(
        strategy: Strategy,
        intensity: Intensity,
        children: impl IntoIterator<Item = Restart>,
    ) -> Self {
        let stopped = |restart| Child { restart, state: State::Stopped };
        let children: Vec<Child> = children.into_iter().map(stopped).collect();
        Machine {
            strategy,
            intensity,
            restarts: VecDeque::new(),
            orders: (0..children.len()).map(|place| Order::Start(Place(place))).collect(),
            has_begun: children.is_empty(),
            children,
        }
    }

    /// What to do next.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// A child runs.
    pub(super) fn started(&mut self, place: Place, pid: Pid) {
        self.children[place.0].state = State::Running(pid);
        self.has_begun |= self.orders.is_empty();
    }

    /// A child could not be started: that is one more restart, or the end of a supervisor that
    /// begins.
    pub(super) fn failed_to_start(&mut self, place: Place, why: Term, now: Instant) {
        if self.has_begun {
            self.restart(place, now);
        } else {
            self.give_up(Ending::FailedToStart(place, why));
        }
    }

    /// A child was ended, as ordered or asked for.
    pub(super) fn stopped(&mut self, place: Place) {
        let child = &mut self.children[place.0];
        child.state = match child.restart {
            Restart::Temporary => State::Deleted,
            Restart::Permanent | Restart::Transient => State::Stopped,
        };
    }

    /// A child has ended by itself.
    pub(super) fn ended(&mut self, place: Place, reason: &Term, now: Instant) {
        debug_assert!(self.orders.is_empty(), "ends wait until all orders are carried out");
        self.stopped(place);
        let restarts = match self.children[place.0].restart {
            Restart::Permanent => true,
            Restart::Transient => !is_orderly(reason),
            Restart::Temporary => false,
        };
        if restarts {
            self.restart(place, now);
        }
    }

    /// Ends all children, the last one first.
    pub(super) fn stop_all(&mut self) {
        self.orders.clear();
        self.stop(0..self.children.len());
    }

    /// Whether a child may be started because somebody asks for it.
    pub(super) fn may_start(&self, place: Place) -> Result<(), Refusal> {
        match self.children[place.0].state {
            State::Running(_) => Err(Refusal::Running),
            State::Stopped => Ok(()),
            State::Deleted => Err(Refusal::NotFound),
        }
    }

    /// Forgets the specification of a child that does not run.
    pub(super) fn delete(&mut self, place: Place) -> Result<(), Refusal> {
        self.may_start(place)?;
        self.children[place.0].state = State::Deleted;
        Ok(())
    }

    /// The process of a child that runs.
    pub(super) fn pid(&self, place: Place) -> Option<&Pid> {
        match &self.children[place.0].state {
            State::Running(pid) => Some(pid),
            State::Stopped | State::Deleted => None,
        }
    }

    /// The child whose process it is.
    pub(super) fn find(&self, is: impl Fn(&Pid) -> bool) -> Option<Place> {
        self.places().find(|place| self.pid(*place).is_some_and(&is))
    }

    /// The children whose specifications are there, in the order of starting.
    pub(super) fn places(&self) -> impl DoubleEndedIterator<Item = Place> {
        let children = self.children.iter().enumerate();
        children.filter(|(_, child)| child.state != State::Deleted).map(|(place, _)| Place(place))
    }

    /// Starts a child again, with those that the strategy joins to it.
    fn restart(&mut self, place: Place, now: Instant) {
        self.orders.clear();
        if !self.may_restart(now) {
            self.give_up(Ending::TooManyRestarts);
            return;
        }
        let concerned = match self.strategy {
            Strategy::OneForOne => place.0..place.0 + 1,
            Strategy::RestForOne => place.0..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
        };
        self.stop(concerned.clone());
        for place in concerned {
            let child = &self.children[place];
            // OTP: a temporary child that was stopped with the others stays away.
            if child.restart != Restart::Temporary && child.state != State::Deleted {
                self.orders.push_back(Order::Start(Place(place)));
            }
        }
    }

    /// Counts a restart. OTP: one that is just as long ago as the period still counts.
    fn may_restart(&mut self, now: Instant) -> bool {
        let period = self.intensity.period;
        while self.restarts.front().is_some_and(|then| now.duration_since(*then) > period) {
            self.restarts.pop_front();
        }
        self.restarts.push_back(now);
        self.restarts.len() <= self.intensity.restarts_max
    }

    fn stop(&mut self, places: Range<usize>) {
        for place in places.rev() {
            if let State::Running(pid) = &self.children[place].state {
                self.orders.push_back(Order::Stop(Place(place), pid.clone()));
            }
        }
    }

    fn give_up(&mut self, why: Ending) {
        self.stop_all();
        self.orders.push_back(Order::End(why));
    }
}

/// Whether a process with that reason has not failed (OTP: `do_restart/3`).
pub(super) fn is_orderly(reason: &Term) -> bool {
    match reason {
        Term::Atom(reason) => matches!(reason.as_str(), "normal" | "shutdown"),
        Term::Tuple(parts) => {
            matches!(parts.as_slice(), [Term::Atom(first), _] if first.as_str() == "shutdown")
        }
        _ => false,
    }
}

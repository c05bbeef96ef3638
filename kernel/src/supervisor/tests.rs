use std::time::{Duration, Instant};

use krarup_transport::term::{Atom, Creation, Pid, Term};

use super::machine::{Ending, Machine, Order, Place, Refusal};
use super::spec::{Intensity, Restart, Strategy};
use Restart::{Permanent, Temporary, Transient};

const PERIOD: Duration = Duration::from_secs(5);

/// A machine, with what carries its orders out.
struct Rig {
    machine: Machine,
    now: Instant,
    next_pid: u32,
    /// Starts of this place fail so many times.
    fails: (usize, usize),
}

impl Rig {
    fn new(strategy: Strategy, restarts_max: usize, children: &[Restart]) -> Self {
        let intensity = Intensity { restarts_max, period: PERIOD };
        let machine = Machine::new(strategy, intensity, children.iter().copied());
        Rig { machine, now: Instant::now(), next_pid: 1, fails: (0, 0) }
    }

    fn begun(strategy: Strategy, restarts_max: usize, children: &[Restart]) -> Self {
        let mut rig = Rig::new(strategy, restarts_max, children);
        rig.carry_out();
        rig
    }

    /// Carries the orders out: `+` starts, `!` fails to, `-` stops, and then perhaps an end.
    fn carry_out(&mut self) -> String {
        let mut log = Vec::new();
        while let Some(order) = self.machine.next_order() {
            log.push(match order {
                Order::Start(place) if self.fails.0 == place.0 && self.fails.1 > 0 => {
                    self.fails.1 -= 1;
                    self.machine.failed_to_start(place, atom("why"), self.now);
                    format!("!{}", place.0)
                }
                Order::Start(place) => {
                    let pid = pid(self.next_pid);
                    self.next_pid += 1;
                    self.machine.started(place, pid);
                    format!("+{}", place.0)
                }
                Order::Stop(place, pid) => {
                    assert_eq!(self.machine.pid(place), Some(&pid));
                    self.machine.stopped(place);
                    format!("-{}", place.0)
                }
                Order::End(Ending::TooManyRestarts) => "too many".to_owned(),
                Order::End(Ending::FailedToStart(place, _)) => format!("failed {}", place.0),
            });
        }
        log.join(" ")
    }

    /// A child ends by itself.
    fn ends(&mut self, place: usize, reason: &Term) -> String {
        self.machine.ended(Place(place), reason, self.now);
        self.carry_out()
    }

    fn fails(&mut self, place: usize) -> String {
        self.ends(place, &atom("failed"))
    }

    fn running(&self) -> Vec<usize> {
        let places = self.machine.places();
        places.filter(|place| self.machine.pid(*place).is_some()).map(|place| place.0).collect()
    }
}

fn atom(text: &'static str) -> Term {
    Term::Atom(Atom::from_static(text))
}

fn pid(id: u32) -> Pid {
    Pid { node: Atom::from_static("a@b"), id, serial: 0, creation: Creation(1) }
}

#[test]
fn children_start_in_order_and_end_in_reverse() {
    let mut rig = Rig::new(Strategy::OneForOne, 1, &[Permanent, Temporary, Transient]);
    assert_eq!(rig.carry_out(), "+0 +1 +2");
    assert_eq!(rig.machine.find(|child| *child == pid(2)), Some(Place(1)));
    assert_eq!(rig.machine.find(|child| *child == pid(9)), None);
    rig.machine.stop_all();
    assert_eq!(rig.carry_out(), "-2 -1 -0");
    rig.machine.stop_all();
    assert_eq!(rig.carry_out(), "");
}

#[test]
fn a_strategy_says_who_is_started_again() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "+1"),
        (Strategy::RestForOne, "-3 -2 +1 +2 +3"),
        (Strategy::OneForAll, "-3 -2 -0 +0 +1 +2 +3"),
    ] {
        let mut rig = Rig::begun(strategy, 1, &[Permanent; 4]);
        assert_eq!(rig.fails(1), expected, "{strategy:?}");
        assert_eq!(rig.running(), [0, 1, 2, 3]);
        assert_ne!(rig.machine.pid(Place(1)), Some(&pid(2)), "a new process");
    }
}

#[test]
fn how_it_ended_and_its_kind_say_whether_a_child_is_started_again() {
    let detail = Term::Tuple(vec![atom("shutdown"), atom("detail")]);
    let odd = Term::Tuple(vec![atom("normal"), atom("detail")]);
    for (reason, is_orderly) in [
        (atom("normal"), true),
        (atom("shutdown"), true),
        (detail, true),
        (atom("killed"), false),
        (atom("noproc"), false),
        (odd, false),
        (Term::Integer(1), false),
    ] {
        let mut rig = Rig::begun(Strategy::OneForOne, 9, &[Permanent, Transient, Temporary]);
        assert_eq!(rig.ends(0, &reason), "+0", "{reason}");
        assert_eq!(rig.ends(1, &reason), if is_orderly { "" } else { "+1" }, "{reason}");
        assert_eq!(rig.ends(2, &reason), "", "{reason}");
        let left: Vec<Place> = rig.machine.places().collect();
        assert_eq!(left, [Place(0), Place(1)], "nothing is left of a temporary child");
    }
}

#[test]
fn those_who_are_stopped_with_others_start_unless_they_are_temporary() {
    let children = [Transient, Temporary, Permanent, Permanent];
    let mut rig = Rig::begun(Strategy::OneForAll, 9, &children);
    assert_eq!(rig.ends(0, &atom("normal")), "");
    // OTP: a transient child that was done starts with the others.
    assert_eq!(rig.fails(2), "-3 -1 +0 +2 +3");
    assert_eq!(rig.fails(3), "-2 -0 +0 +2 +3");
}

#[test]
fn too_many_restarts_within_the_period_are_the_end() {
    let mut rig = Rig::begun(Strategy::OneForOne, 2, &[Permanent; 3]);
    assert_eq!(rig.fails(1), "+1");
    rig.now += PERIOD;
    assert_eq!(rig.fails(2), "+2");
    // The first one counts until the period is over.
    assert_eq!(rig.fails(1), "-2 -0 too many");
    assert_eq!(rig.running(), [] as [usize; 0]);
}

#[test]
fn restarts_are_forgotten_after_the_period() {
    let mut rig = Rig::begun(Strategy::OneForOne, 2, &[Permanent]);
    for _ in 0..100 {
        assert_eq!(rig.fails(0), "+0");
        rig.now += PERIOD / 2 + Duration::from_nanos(1);
    }
    assert_eq!(rig.fails(0), "+0");
    assert_eq!(rig.fails(0), "too many");
}

#[test]
fn one_restart_counts_once_whomever_it_concerns() {
    let mut rig = Rig::begun(Strategy::OneForAll, 1, &[Permanent; 5]);
    assert_eq!(rig.fails(4), "-3 -2 -1 -0 +0 +1 +2 +3 +4");
    assert_eq!(rig.fails(0), "-4 -3 -2 -1 too many");
}

#[test]
fn no_restart_may_be_allowed() {
    let mut rig = Rig::begun(Strategy::OneForOne, 0, &[Permanent, Transient]);
    assert_eq!(rig.ends(1, &atom("normal")), "");
    assert_eq!(rig.fails(0), "too many");
}

#[test]
fn a_supervisor_that_cannot_start_a_child_ends_those_before() {
    let mut rig = Rig::new(Strategy::OneForOne, 9, &[Permanent; 4]);
    rig.fails = (2, 1);
    assert_eq!(rig.carry_out(), "+0 +1 !2 -1 -0 failed 2");
}

#[test]
fn a_restart_that_fails_is_tried_again_and_counts() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "+1"),
        (Strategy::RestForOne, "-2 +1 !2 !2 +2"),
        (Strategy::OneForAll, "-2 -0 +0 +1 !2 -1 -0 +0 +1 !2 -1 -0 +0 +1 +2"),
    ] {
        let mut rig = Rig::begun(strategy, 3, &[Permanent; 3]);
        rig.fails = (2, 2);
        assert_eq!(rig.fails(1), expected, "{strategy:?}");
    }
    let mut rig = Rig::begun(Strategy::OneForOne, 3, &[Permanent; 3]);
    rig.fails = (1, 9);
    assert_eq!(rig.fails(1), "!1 !1 !1 -2 -0 too many");
}

#[test]
fn what_is_asked_for_depends_on_whether_the_child_runs() {
    let mut rig = Rig::begun(Strategy::OneForOne, 1, &[Permanent, Temporary]);
    assert_eq!(rig.machine.may_start(Place(0)), Err(Refusal::Running));
    assert_eq!(rig.machine.delete(Place(0)), Err(Refusal::Running));
    rig.machine.stopped(Place(0));
    rig.machine.stopped(Place(1));
    assert_eq!(rig.machine.may_start(Place(0)), Ok(()));
    assert_eq!(rig.machine.may_start(Place(1)), Err(Refusal::NotFound));
    rig.machine.started(Place(0), pid(7));
    assert_eq!(rig.running(), [0]);
    rig.machine.stopped(Place(0));
    assert_eq!(rig.machine.delete(Place(0)), Ok(()));
    assert_eq!(rig.machine.delete(Place(0)), Err(Refusal::NotFound));
    assert_eq!(rig.machine.places().count(), 0);
}

#[test]
fn a_deleted_child_stays_away() {
    let mut rig = Rig::begun(Strategy::OneForAll, 1, &[Permanent; 3]);
    rig.machine.stopped(Place(1));
    assert_eq!(rig.machine.delete(Place(1)), Ok(()));
    assert_eq!(rig.fails(0), "-2 +0 +2");
}

#[test]
fn a_supervisor_may_have_no_children() {
    let mut rig = Rig::new(Strategy::OneForAll, 0, &[]);
    assert_eq!(rig.carry_out(), "");
    rig.machine.stop_all();
    assert_eq!(rig.carry_out(), "");
}

//! The table of inputs and actions, line by line.

use super::*;

const TICK_TIME: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);
const LANE: LaneId = LaneId(1);

fn agreement(role: Role, ours: Hello, theirs: Hello) -> Agreement {
    match agree(role, &ours, &theirs) {
        Agreed::Session(agreement) => *agreement,
        Agreed::Plain => panic!("no common version"),
    }
}

/// A session of four lanes over TCP.
fn session(role: Role, now: Instant) -> Session {
    let agreement = agreement(role, tcp_hello(1), tcp_hello(2));
    let lanes = (0..4).map(LaneId).collect();
    let settled = Settled { agreement, lanes, lane0_on_first_link: true, leftover: vec![] };
    Session::new(&settled, TICK_TIME, now)
}

fn actions(session: &mut Session) -> Vec<SessionAction> {
    std::iter::from_fn(|| session.next_action()).collect()
}

fn report(received: u64, last_byte: Instant) -> Broken {
    Broken { received, unacknowledged: false, last_byte, brought_bytes: false }
}

fn dial(epoch: u32, received: u64) -> SessionAction {
    SessionAction::Dial { lane: LANE, epoch: Epoch(epoch), received }
}

fn attach(epoch: u32, peer_received: u64, join: Option<u64>) -> SessionAction {
    let join = join.map(JoinId);
    SessionAction::Attach { lane: LANE, epoch: Epoch(epoch), peer_received, join }
}

fn ask(session: &Session, epoch: u32, received: u64) -> Ask {
    Ask { version: 1, session: session.id(), lane: LANE, epoch: Epoch(epoch), received }
}

fn is_up(session: &Session) -> bool {
    session.lanes().all(|(_, up)| up)
}

fn byes(lanes: &[u8], reason: &str) -> Vec<SessionAction> {
    let bye = |lane: &u8| SessionAction::Bye { lane: LaneId(*lane), reason: reason.to_owned() };
    lanes.iter().map(bye).collect()
}

#[test]
fn an_initiator_dials_at_once_and_attaches() {
    let now = Instant::now();
    let mut session = session(Role::Initiator, now);
    assert_eq!(session.deadline(), None);
    session.broken(now, LANE, Epoch(1), report(500, now));
    assert_eq!(actions(&mut session), [dial(2, 500)]);
    assert_eq!(session.deadline(), Some(now + RESUME_TIME));
    session.joined(now, LANE, Epoch(2), 700);
    assert_eq!(actions(&mut session), [attach(2, 700, None)]);
    assert_eq!((is_up(&session), session.deadline()), (true, None));
}

#[test]
fn an_acceptor_probes_and_admits() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    session.broken(now, LANE, Epoch(1), report(500, now));
    assert_eq!(actions(&mut session), [SessionAction::Probe]);
    let question = ask(&session, 2, 700);
    session.asked(now, JoinId(9), &question);
    assert_eq!(actions(&mut session), [SessionAction::Admit { join: JoinId(9), received: 500 }]);
    session.confirmed(now, JoinId(9));
    assert_eq!(actions(&mut session), [attach(2, 700, Some(9))]);
    assert_eq!((is_up(&session), session.deadline()), (true, None));
    session.probed(now, Probed::ConnectionRefused);
    assert!(!session.is_over(), "the answer came after the lane");
}

#[test]
fn a_join_of_a_lane_that_looks_well_waits_for_its_position() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    let question = ask(&session, 2, 700);
    session.asked(now, JoinId(9), &question);
    let detach = SessionAction::Detach { lane: LANE, epoch: Epoch(1) };
    assert_eq!(actions(&mut session), [detach]);
    let again = ask(&session, 3, 700);
    session.asked(now, JoinId(10), &again);
    assert_eq!(actions(&mut session), [], "both wait for the same position");
    session.broken(now, LANE, Epoch(1), report(800, now));
    let admit = |join| SessionAction::Admit { join: JoinId(join), received: 800 };
    assert_eq!(actions(&mut session), [admit(9), admit(10), SessionAction::Probe]);
    session.confirmed(now, JoinId(10));
    let dropped = SessionAction::Drop { join: JoinId(9) };
    assert_eq!(actions(&mut session), [dropped.clone(), attach(3, 700, Some(10))]);
    session.confirmed(now, JoinId(9));
    assert_eq!(actions(&mut session), [dropped], "its position is not true any more");
}

#[test]
fn a_shard_that_does_not_let_go_ends_the_session() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    let question = ask(&session, 2, 0);
    session.asked(now, JoinId(9), &question);
    actions(&mut session);
    session.expire(now + RESUME_TIME);
    let last = actions(&mut session).split_off(3);
    let drop = SessionAction::Drop { join: JoinId(9) };
    assert_eq!(last, [drop, SessionAction::End(SessionEnd::TimedOut(LANE))]);
}

#[test]
fn joins_that_do_not_fit_are_refused() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    let good = ask(&session, 2, 0);
    let cases = [
        (Ask { epoch: Epoch(1), ..good }, Refusal::StaleEpoch),
        (Ask { epoch: Epoch(0), ..good }, Refusal::StaleEpoch),
        (Ask { lane: LaneId(4), ..good }, Refusal::UnknownLane),
        (Ask { session: SessionId([0; 32]), ..good }, Refusal::UnknownSession),
        (Ask { version: 2, ..good }, Refusal::Version),
    ];
    for (question, refusal) in cases {
        session.asked(now, JoinId(1), &question);
        assert_eq!(actions(&mut session), [SessionAction::Refuse { join: JoinId(1), refusal }]);
    }
    session.replaced();
    actions(&mut session);
    session.asked(now, JoinId(1), &good);
    let refusal = Refusal::UnknownSession;
    assert_eq!(actions(&mut session), [SessionAction::Refuse { join: JoinId(1), refusal }]);
}

#[test]
fn an_initiator_is_joined_by_nobody() {
    let now = Instant::now();
    let mut session = session(Role::Initiator, now);
    let question = ask(&session, 2, 0);
    session.asked(now, JoinId(1), &question);
    let refusal = Refusal::UnknownLane;
    assert_eq!(actions(&mut session), [SessionAction::Refuse { join: JoinId(1), refusal }]);
    // But it says when there is no session that it could be joined to.
    session.close("stopped");
    actions(&mut session);
    session.asked(now, JoinId(2), &question);
    let refusal = Refusal::UnknownSession;
    assert_eq!(actions(&mut session), [SessionAction::Refuse { join: JoinId(2), refusal }]);
}

#[test]
fn joins_without_end_are_bounded() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    session.broken(now, LANE, Epoch(1), report(0, now));
    for join in 0..100 {
        let question = ask(&session, 2, 0);
        session.asked(now, JoinId(join), &question);
    }
    let dropped =
        actions(&mut session).iter().filter(|a| matches!(a, SessionAction::Drop { .. })).count();
    assert_eq!(dropped, 100 - LANE_JOINS_MAX);
    session.join_ended(JoinId(98));
    session.confirmed(now, JoinId(98));
    assert_eq!(actions(&mut session), [SessionAction::Drop { join: JoinId(98) }]);
    session.confirmed(now, JoinId(99));
    assert!(actions(&mut session).contains(&attach(2, 0, Some(99))));
}

#[test]
fn reports_of_older_connections_change_nothing() {
    let now = Instant::now();
    let mut session = session(Role::Initiator, now);
    session.broken(now, LANE, Epoch(0), report(500, now));
    session.broken(now, LaneId(7), Epoch(1), report(500, now));
    session.dial_failed(now, LANE, Epoch(1), &DialFailure::ConnectionRefused);
    assert_eq!(actions(&mut session), []);
    session.joined(now, LANE, Epoch(2), 0);
    assert_eq!(actions(&mut session), [SessionAction::Abort { lane: LANE, epoch: Epoch(2) }]);
    session.broken(now, LANE, Epoch(1), report(500, now));
    session.broken(now, LANE, Epoch(1), report(600, now));
    assert_eq!(actions(&mut session), [dial(2, 500)]);
}

#[test]
fn dials_back_off_up_to_the_deadline() {
    let start = Instant::now();
    let mut now = start;
    let mut session = session(Role::Initiator, now);
    session.broken(now, LANE, Epoch(1), report(0, now));
    let mut waits = Vec::new();
    let mut epoch = 2;
    while let [SessionAction::Dial { .. }] = actions(&mut session)[..] {
        session.dial_failed(now, LANE, Epoch(epoch), &DialFailure::Unreachable);
        assert_eq!(actions(&mut session), []);
        let due = session.deadline().expect("something is due");
        waits.push((due - now).as_millis());
        now = due;
        session.expire(now);
        epoch += 1;
    }
    assert_eq!(waits[..9], [5, 10, 20, 40, 80, 160, 320, 500, 500]);
    assert_eq!(now, start + RESUME_TIME);
    assert!(session.is_over());
}

#[test]
fn probes_back_off_and_see_a_dead_peer() {
    let start = Instant::now();
    let mut now = start;
    let mut session = session(Role::Acceptor, now);
    session.broken(now, LANE, Epoch(1), report(0, now));
    session.broken(now, LaneId(2), Epoch(1), report(0, now));
    for wait in [5, 10, 20, 40] {
        assert_eq!(actions(&mut session), [SessionAction::Probe], "one at a time");
        session.probed(now, Probed::Listening);
        now += wait * MILLI;
        session.expire(now - MILLI);
        assert_eq!(actions(&mut session), []);
        session.expire(now);
    }
    assert_eq!(actions(&mut session), [SessionAction::Probe]);
    session.probed(now, Probed::ConnectionRefused);
    assert_eq!(actions(&mut session), [SessionAction::End(SessionEnd::PeerGone)]);
}

#[test]
fn a_peer_that_has_given_it_up_ends_it() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    session.broken(now, LANE, Epoch(1), report(0, now));
    assert_eq!(actions(&mut session), [SessionAction::Probe]);
    session.probed(now, Probed::UnknownSession);
    let end = SessionEnd::Refused(Refusal::UnknownSession);
    assert_eq!(actions(&mut session), [SessionAction::End(end)]);
}

#[test]
fn refusals_end_it_or_do_not() {
    use DialFailure::{ConnectionRefused, Join, Unreachable};
    let now = Instant::now();
    let refused = |refusal| Join(FabricError::Refused(refusal));
    let timeout = FabricError::Timeout { expected: FabricMessage::Welcome, limit: SECOND };
    let cases = [
        (ConnectionRefused, Some(SessionEnd::PeerGone)),
        (refused(Refusal::UnknownSession), Some(SessionEnd::Refused(Refusal::UnknownSession))),
        (refused(Refusal::UnknownLane), Some(SessionEnd::Refused(Refusal::UnknownLane))),
        (refused(Refusal::NotAuthentic), Some(SessionEnd::Refused(Refusal::NotAuthentic))),
        (refused(Refusal::Version), Some(SessionEnd::Refused(Refusal::Version))),
        (refused(Refusal::StaleEpoch), None),
        (refused(Refusal::TryAgain), None),
        (Join(FabricError::NotAuthentic), None),
        (Join(timeout), None),
        (Unreachable, None),
    ];
    for (failure, end) in cases {
        let mut session = session(Role::Initiator, now);
        session.broken(now, LANE, Epoch(1), report(0, now));
        actions(&mut session);
        session.dial_failed(now, LANE, Epoch(2), &failure);
        let expected: Vec<_> = end.into_iter().map(SessionAction::End).collect();
        assert_eq!(actions(&mut session), expected, "{failure:?}");
        session.expire(now + BACK_OFF_MIN);
        let again = if expected.is_empty() { vec![dial(3, 0)] } else { vec![] };
        assert_eq!(actions(&mut session), again, "{failure:?}");
    }
}

#[test]
fn silence_ends_it_at_the_tick_time() {
    let start = Instant::now();
    let mut session = session(Role::Initiator, start);
    // Two seconds are left when the silence is noticed.
    let now = start + TICK_TIME - 2 * SECOND;
    session.broken(now, LANE, Epoch(1), report(0, start));
    assert_eq!(actions(&mut session), [dial(2, 0)]);
    session.expire(start + TICK_TIME - MILLI);
    assert_eq!(actions(&mut session), []);
    session.expire(start + TICK_TIME);
    let mut expected = byes(&[0, 2, 3], "net_tick_timeout");
    expected.push(SessionAction::Abort { lane: LANE, epoch: Epoch(2) });
    let end = SessionEnd::Silent(LANE);
    assert_eq!(end.nodedown_reason(), "net_tick_timeout");
    expected.push(SessionAction::End(end));
    assert_eq!(actions(&mut session), expected);
}

#[test]
fn a_lane_that_grew_silent_has_the_rest_of_the_tick_time() {
    let start = Instant::now();
    for role in [Role::Initiator, Role::Acceptor] {
        let deadline = |silent: Duration| {
            let mut session = session(role, start);
            session.broken(start + silent, LANE, Epoch(1), report(0, start));
            // What is due at once is not what is asked for.
            session.expire(start + silent);
            session.deadline().expect("it is down") - start
        };
        let patience = match role {
            Role::Initiator => RESUME_TIME,
            Role::Acceptor => RESUME_TIME + TICK_TIME / 4,
        };
        assert_eq!(deadline(20 * SECOND), 20 * SECOND + patience);
        assert_eq!(deadline(TICK_TIME * 3 / 8), TICK_TIME);
        assert_eq!(deadline(TICK_TIME / 2), TICK_TIME);
        assert_eq!(deadline(TICK_TIME - SECOND), TICK_TIME);
    }
}

#[test]
fn reconnecting_moves_no_deadline() {
    let start = Instant::now();
    let mut now = start;
    let mut session = session(Role::Initiator, now);
    session.broken(now, LANE, Epoch(1), report(0, now));
    let mut waits = Vec::new();
    for epoch in 2..1000 {
        let acts = actions(&mut session);
        if acts.is_empty() || session.is_over() {
            break;
        }
        assert_eq!(acts, [dial(epoch, 0)]);
        session.joined(now, LANE, Epoch(epoch), 0);
        assert_eq!(actions(&mut session), [attach(epoch, 0, None)]);
        session.broken(now, LANE, Epoch(epoch), report(0, now));
        let due = session.deadline().expect("something is due");
        waits.push((due - now).as_millis());
        now = due;
        session.expire(now);
    }
    assert_eq!(waits[..8], [5, 10, 20, 40, 80, 160, 320, 500]);
    assert!(session.is_over());
    assert_eq!(now, start + RESUME_TIME);
}

#[test]
fn a_connection_that_brought_something_or_lasted_starts_anew() {
    let start = Instant::now();
    let resumed = |received, peer_received, after: Duration, last_byte: Duration| {
        let mut session = session(Role::Initiator, start);
        session.broken(start, LANE, Epoch(1), report(0, start));
        session.joined(start, LANE, Epoch(2), 0);
        session.broken(start, LANE, Epoch(2), report(0, start));
        session.expire(start + BACK_OFF_MIN);
        let up = start + BACK_OFF_MIN;
        session.joined(up, LANE, Epoch(3), peer_received);
        actions(&mut session);
        let brought_bytes = !last_byte.is_zero();
        let report = Broken { last_byte: up + last_byte, brought_bytes, ..report(received, up) };
        session.broken(up + after, LANE, Epoch(3), report);
        let at_once = !actions(&mut session).is_empty();
        // With the dial under way only the deadline is left.
        if !at_once {
            session.expire(session.deadline().expect("due"));
        }
        (at_once, session.deadline().expect("due") - up)
    };
    let kept = RESUME_TIME - BACK_OFF_MIN;
    let (milli, zero) = (MILLI, Duration::ZERO);
    assert_eq!(resumed(0, 0, milli, zero), (false, kept));
    assert_eq!(resumed(0, 0, milli, milli), (false, RESUME_TIME + milli), "a byte came");
    assert_eq!(resumed(9, 0, milli, milli), (true, RESUME_TIME + milli), "a frame came");
    assert_eq!(resumed(0, 9, milli, zero), (true, kept), "a frame got through");
    assert_eq!(resumed(0, 0, STABLE_TIME, zero), (true, RESUME_TIME + STABLE_TIME), "it lasted");
}

#[test]
fn three_resumes_without_progress_end_it() {
    let now = Instant::now();
    for role in [Role::Initiator, Role::Acceptor] {
        let mut session = session(role, now);
        let mut resume = |epoch, peer_received, unacknowledged| {
            let report =
                Broken { received: 0, unacknowledged, last_byte: now, brought_bytes: false };
            session.broken(now, LANE, Epoch(epoch - 1), report);
            session.expire(now + BACK_OFF_MAX);
            match role {
                Role::Initiator => session.joined(now, LANE, Epoch(epoch), peer_received),
                Role::Acceptor => {
                    let join = JoinId(epoch.into());
                    let question = ask(&session, epoch, peer_received);
                    session.asked(now, join, &question);
                    session.confirmed(now, join);
                }
            }
            actions(&mut session).pop()
        };
        let join = |epoch: u64| (role == Role::Acceptor).then_some(epoch);
        assert_eq!(resume(2, 0, true), Some(attach(2, 0, join(2))));
        assert_eq!(resume(3, 0, true), Some(attach(3, 0, join(3))));
        assert_eq!(resume(4, 10, true), Some(attach(4, 10, join(4))), "progress");
        assert_eq!(resume(5, 10, true), Some(attach(5, 10, join(5))));
        assert_eq!(resume(6, 10, false), Some(attach(6, 10, join(6))), "there was nothing");
        assert_eq!(resume(7, 10, true), Some(attach(7, 10, join(7))));
        assert_eq!(resume(8, 10, true), Some(attach(8, 10, join(8))));
        assert_eq!(resume(9, 10, true), Some(SessionAction::End(SessionEnd::Stalled(LANE))));
    }
}

#[test]
fn every_end_tells_whom_it_concerns() {
    let now = Instant::now();
    type Ending = fn(&mut Session);
    let cases: [(Ending, &[u8], &str, SessionEnd); 4] = [
        (|s| s.close("disconnect"), &[0, 2, 3], "disconnect", closed("disconnect")),
        (|s| s.bye("stopped".into()), &[], "", SessionEnd::Bye("stopped".into())),
        (|s| s.replaced(), &[], "", SessionEnd::Replaced),
        (|s| s.failed(LaneId(2), "crc".into()), &[0, 2, 3], "killed", lane_failed()),
    ];
    for (ending, lanes, reason, end) in cases {
        let mut session = session(Role::Initiator, now);
        session.broken(now, LANE, Epoch(1), report(0, now));
        actions(&mut session);
        ending(&mut session);
        let mut expected = byes(lanes, reason);
        expected.push(SessionAction::Abort { lane: LANE, epoch: Epoch(2) });
        expected.push(SessionAction::End(end));
        assert_eq!(actions(&mut session), expected);
        // Nothing follows, whatever comes in.
        ending(&mut session);
        session.broken(now, LaneId(2), Epoch(1), report(0, now));
        session.dial_failed(now, LANE, Epoch(2), &DialFailure::ConnectionRefused);
        session.probed(now, Probed::ConnectionRefused);
        session.expire(now + TICK_TIME);
        assert_eq!(actions(&mut session), []);
        assert_eq!((session.is_over(), session.deadline()), (true, None));
        session.joined(now, LANE, Epoch(2), 0);
        assert_eq!(actions(&mut session), [SessionAction::Abort { lane: LANE, epoch: Epoch(2) }]);
    }
}

fn closed(reason: &str) -> SessionEnd {
    SessionEnd::Closed(reason.to_owned())
}

fn lane_failed() -> SessionEnd {
    SessionEnd::LaneFailed { lane: LaneId(2), why: "crc".to_owned() }
}

#[test]
fn an_acceptor_nobody_can_call_ends_with_its_first_lane() {
    let now = Instant::now();
    let deaf = Hello { port: 0, ..tcp_hello(2) };
    let agreement = agreement(Role::Initiator, tcp_hello(1), deaf);
    let lanes = [LaneId(0)].into_iter().collect();
    let settled = Settled { agreement, lanes, lane0_on_first_link: true, leftover: vec![] };
    let mut session = Session::new(&settled, TICK_TIME, now);
    session.broken(now, LaneId(0), Epoch(0), report(0, now));
    let end = SessionEnd::NotResumable(LaneId(0));
    assert_eq!(actions(&mut session), [SessionAction::End(end)]);
}

#[test]
fn an_initiator_that_listens_nowhere_is_not_probed() {
    let now = Instant::now();
    let deaf = Hello { port: 0, ..tcp_hello(1) };
    let agreement = agreement(Role::Acceptor, tcp_hello(2), deaf);
    let lanes = [LaneId(0)].into_iter().collect();
    let settled = Settled { agreement, lanes, lane0_on_first_link: true, leftover: vec![] };
    let mut session = Session::new(&settled, TICK_TIME, now);
    session.broken(now, LaneId(0), Epoch(0), report(0, now));
    assert_eq!(actions(&mut session), []);
    assert_eq!(session.deadline(), Some(now + RESUME_TIME + TICK_TIME / 4));
}

#[test]
fn lanes_are_joined_again_where_they_were() {
    let now = Instant::now();
    let over_unix = |lane0_on_first_link| {
        let agreement = agreement(Role::Initiator, unix_hello(1), unix_hello(2));
        let lanes = (0..2).map(LaneId).collect();
        let settled = Settled { agreement, lanes, lane0_on_first_link, leftover: vec![] };
        let session = Session::new(&settled, TICK_TIME, now);
        [0, 1].map(|lane| session.joins_unix(LaneId(lane)))
    };
    assert_eq!(over_unix(false), [true, true]);
    assert_eq!(over_unix(true), [false, true]);
    assert!(!session(Role::Initiator, now).joins_unix(LANE));
}

#[test]
fn epochs_run_out() {
    let now = Instant::now();
    let mut session = session(Role::Acceptor, now);
    let question = ask(&session, u32::MAX, 0);
    session.broken(now, LANE, Epoch(1), report(0, now));
    session.asked(now, JoinId(1), &question);
    session.confirmed(now, JoinId(1));
    assert!(is_up(&session));
    session.asked(now, JoinId(2), &question);
    let refusal = Refusal::StaleEpoch;
    let last = actions(&mut session).pop();
    assert_eq!(last, Some(SessionAction::Refuse { join: JoinId(2), refusal }));
}

#[test]
fn reconnecting_alone_moves_no_deadline() {
    let start = Instant::now();
    let mut now = start;
    let mut session = session(Role::Initiator, now);
    session.broken(now, LANE, Epoch(1), report(500, now));
    let mut epoch = 2;
    for _ in 0..40 {
        for action in actions(&mut session) {
            if let SessionAction::Dial { epoch: dialled, .. } = action {
                epoch = dialled.0;
            }
        }
        session.joined(now, LANE, Epoch(epoch), 700);
        actions(&mut session);
        // A shard attaches a little after the session said so.
        let attached = now + Duration::from_micros(20);
        now += 900 * MILLI;
        session.broken(now, LANE, Epoch(epoch), report(500, attached));
        now += 500 * MILLI;
        session.expire(now);
        if session.is_over() {
            break;
        }
    }
    assert!(session.is_over(), "still there after {:?}", now - start);
}

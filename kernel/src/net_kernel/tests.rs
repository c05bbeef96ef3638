use std::time::{Duration, Instant};

use krarup_transport::term::{Atom, Creation};

use super::*;

const SETUP: Duration = Duration::from_secs(7);

fn machine(shards: usize) -> NetKernel {
    let mut kernel = NetKernel::new(shards, SETUP);
    kernel.start(Atom::from_static("m@h"));
    kernel
}

fn peer() -> PeerLink {
    PeerLink { creation: Creation(9), node_type: NodeType::Visible }
}

fn not_connected(waiter: u64, why: ConnectError) -> Action {
    Action::Connected { waiter: WaiterId(waiter), result: Err(why) }
}

fn drain(kernel: &mut NetKernel) -> Vec<Action> {
    std::iter::from_fn(|| kernel.next_action()).collect()
}

/// Acknowledges every broadcast in `actions` on all shards and returns what that led to.
fn acknowledge(kernel: &mut NetKernel, actions: &[Action], shards: usize) -> Vec<Action> {
    for action in actions {
        if let Action::Broadcast { barrier, .. } = action {
            for _ in 0..shards {
                kernel.acknowledged(*barrier);
            }
        }
    }
    drain(kernel)
}

/// Brings `node` up by an inbound attempt and returns its connection.
fn bring_up(kernel: &mut NetKernel, node: &Atom) -> ConnectionId {
    let (attempt, decision) = kernel.inbound(node);
    assert_eq!(decision, Decision::Ok);
    kernel.established(attempt, peer());
    settle_up(kernel)
}

fn settle_up(kernel: &mut NetKernel) -> ConnectionId {
    let routing = drain(kernel);
    let announcing = acknowledge(kernel, &routing, 1);
    let up = acknowledge(kernel, &announcing, 1);
    up.iter()
        .find_map(|action| match action {
            Action::StartReading { connection, .. } => Some(*connection),
            _ => None,
        })
        .expect("reading starts after nodeup")
}

fn settle_down(kernel: &mut NetKernel) -> Vec<Action> {
    let unrouting = drain(kernel);
    let mourning = acknowledge(kernel, &unrouting, 1);
    assert!(matches!(mourning[..], [Action::Broadcast { order: Order::NodeDown { .. }, .. }]));
    acknowledge(kernel, &mourning, 1)
}

#[test]
fn frames_are_read_only_after_every_shard_saw_nodeup() {
    let mut kernel = machine(2);
    let node = Atom::from_static("a@h");
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.established(attempt, peer());
    let routing = drain(&mut kernel);
    let [Action::Attach { .. }, Action::Broadcast { barrier, order: Order::RouteUp { .. } }] =
        routing[..]
    else {
        panic!("routes first: {routing:?}")
    };
    kernel.acknowledged(barrier);
    assert!(drain(&mut kernel).is_empty(), "one shard is missing");
    kernel.acknowledged(barrier);
    let announcing = drain(&mut kernel);
    assert_eq!(kernel.nodes().len(), 1, "listed before nodeup is delivered");
    let up = acknowledge(&mut kernel, &announcing, 2);
    assert!(matches!(
        up[..],
        [Action::Connected { waiter: WaiterId(1), result: Ok(()) }, Action::StartReading { .. }]
    ));
}

#[test]
fn a_node_comes_up_again_only_after_its_nodedown() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let first = bring_up(&mut kernel, &node);
    kernel.link_down(first, NodeDownReason::ConnectionClosed);
    let (attempt, decision) = kernel.inbound(&node);
    assert_eq!(decision, Decision::Ok);
    kernel.established(attempt, peer());
    assert!(kernel.nodes().is_empty());
    let after = settle_down(&mut kernel);
    assert!(
        matches!(after[..], [Action::Attach { .. }, Action::Broadcast { .. }]),
        "the next connection follows the nodedown: {after:?}"
    );
}

#[test]
fn nobody_is_sent_to_a_connection_that_falls() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let first = bring_up(&mut kernel, &node);
    kernel.falling(first);
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials anew") };
    kernel.link_down(first, NodeDownReason::ConnectionClosed);
    kernel.established(attempt, peer());
    let after = settle_down(&mut kernel);
    assert!(matches!(after[..], [Action::Attach { .. }, Action::Broadcast { .. }]), "{after:?}");
    let announcing = acknowledge(&mut kernel, &after, 1);
    let up = acknowledge(&mut kernel, &announcing, 1);
    assert!(up.contains(&Action::Connected { waiter: WaiterId(1), result: Ok(()) }));
}

#[test]
fn the_greater_name_wins_a_simultaneous_connect() {
    let mut kernel = machine(1);
    for (name, expected) in [("a@h", Decision::Nok), ("z@h", Decision::OkSimultaneous)] {
        let node = Atom::new(name).unwrap();
        kernel.connect(&node, false, None);
        let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
        assert_eq!(kernel.inbound(&node).1, Decision::Ok, "{name} knows nothing of ours");
        kernel.called(attempt);
        assert_eq!(kernel.inbound(&node).1, expected, "against {name}");
    }
}

#[test]
fn a_stranger_does_not_kill_our_attempt_before_it_proves_the_cookie() {
    let mut kernel = machine(1);
    let node = Atom::from_static("z@h");
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt: ours, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    let (theirs, _) = kernel.inbound(&node);
    assert!(drain(&mut kernel).is_empty());
    kernel.established(theirs, peer());
    assert!(drain(&mut kernel).contains(&Action::Abort { attempt: ours }));
}

#[test]
fn a_refused_attempt_waits_for_the_peers_own() {
    let mut kernel = machine(1);
    let (node, now) = (Atom::from_static("z@h"), Instant::now());
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.gave_way(attempt, now);
    assert!(drain(&mut kernel).is_empty(), "still hopeful");
    assert_eq!(kernel.deadline(), Some(now + SETUP));
    kernel.expire(now + SETUP);
    let why = ConnectError::PeersAttempt { waited: SETUP };
    assert_eq!(drain(&mut kernel), [not_connected(1, why)]);
}

#[test]
fn the_peers_own_attempt_may_take_as_long_as_a_handshake() {
    let mut kernel = machine(1);
    let (node, now) = (Atom::from_static("z@h"), Instant::now());
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.gave_way(attempt, now);
    let (slow, _) = kernel.inbound(&node);
    kernel.expire(now + SETUP);
    assert!(drain(&mut kernel).is_empty(), "it has arrived");
    assert_eq!(kernel.deadline(), Some(now + SETUP * 2));
    kernel.asks(slow);
    assert_eq!(drain(&mut kernel), [Action::Acknowledge { attempt: slow }]);
    kernel.failed(slow, ConnectError::GivenUp);
    assert_eq!(drain(&mut kernel), [not_connected(1, ConnectError::GivenUp)]);

    // Whoever only claims the name holds nobody up for longer than that.
    kernel.connect(&node, false, Some(WaiterId(2)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.gave_way(attempt, now);
    kernel.inbound(&node);
    for times in 1..3 {
        kernel.expire(now + SETUP * times);
        assert!(drain(&mut kernel).is_empty());
    }
    kernel.expire(now + SETUP * 3);
    let why = ConnectError::PeersAttempt { waited: SETUP * 3 };
    assert_eq!(drain(&mut kernel), [not_connected(2, why)]);
}

#[test]
fn an_ack_is_held_while_the_peer_may_complete_our_own_attempt() {
    let node = Atom::from_static("a@h");
    // Our name is the greater one: our attempt goes first, once the peer may know of it.
    for called in [true, false] {
        let mut kernel = machine(1);
        let (theirs, _) = kernel.inbound(&node);
        kernel.connect(&node, false, Some(WaiterId(1)));
        let [Action::Dial { attempt: ours, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
        if called {
            kernel.called(ours);
        }
        kernel.asks(theirs);
        let won = [Action::Abort { attempt: ours }, Action::Acknowledge { attempt: theirs }];
        assert_eq!(drain(&mut kernel), if called { &[][..] } else { &won });
        if !called {
            continue;
        }
        // When ours fails, theirs gets through.
        kernel.failed(ours, ConnectError::GivenUp);
        assert_eq!(drain(&mut kernel), [Action::Acknowledge { attempt: theirs }]);
        kernel.proven(theirs);
        kernel.established(theirs, peer());
        settle_up(&mut kernel);
    }
    // And when ours is through, theirs ends.
    let mut kernel = machine(1);
    let (theirs, _) = kernel.inbound(&node);
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt: ours, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.called(ours);
    kernel.asks(theirs);
    kernel.proven(ours);
    assert_eq!(drain(&mut kernel), [Action::Abort { attempt: theirs }]);
    // The other node acknowledges at once: it has promised that ours goes first.
    let node = Atom::from_static("z@h");
    kernel.connect(&node, false, None);
    let [Action::Dial { attempt: ours, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.called(ours);
    let (theirs, decision) = kernel.inbound(&node);
    assert_eq!(decision, Decision::OkSimultaneous);
    kernel.asks(theirs);
    let won = [Action::Abort { attempt: ours }, Action::Acknowledge { attempt: theirs }];
    assert_eq!(drain(&mut kernel), won);
}

#[test]
fn an_alive_attempt_replaces_the_link_only_once_verified() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let first = bring_up(&mut kernel, &node);
    let (attempt, decision) = kernel.inbound(&node);
    assert_eq!(decision, Decision::Alive);
    assert!(drain(&mut kernel).is_empty(), "nothing happens to the old link yet");
    kernel.verified(attempt);
    assert!(matches!(
        drain(&mut kernel)[..],
        [Action::CloseLink { reason: NodeDownReason::WaitPending, .. }]
    ));
    kernel.link_down(first, NodeDownReason::WaitPending);
    assert_eq!(settle_down(&mut kernel), [Action::Acknowledge { attempt }]);
    kernel.established(attempt, peer());
    assert_ne!(settle_up(&mut kernel), first);
}

#[test]
fn one_attempt_serves_all_who_wait_and_a_failure_answers_all() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    for id in 0..3 {
        kernel.connect(&node, false, Some(WaiterId(id)));
    }
    let dials = drain(&mut kernel);
    let [Action::Dial { attempt, .. }] = dials[..] else { panic!("one dial: {dials:?}") };
    kernel.failed(attempt, ConnectError::GivenUp);
    assert_eq!(drain(&mut kernel).len(), 3);
}

#[test]
fn a_disconnect_is_answered_after_the_nodedown() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let id = bring_up(&mut kernel, &node);
    kernel.disconnect(&node, Some(WaiterId(4)));
    assert!(matches!(drain(&mut kernel)[..], [Action::CloseLink { .. }]));
    kernel.link_down(id, NodeDownReason::Disconnect);
    let after = settle_down(&mut kernel);
    assert_eq!(after, [Action::Disconnected { waiter: WaiterId(4), was_up: true }]);
}

#[test]
fn a_link_that_falls_while_coming_up_still_reports_both_events() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let (attempt, _) = kernel.inbound(&node);
    kernel.established(attempt, peer());
    let routing = drain(&mut kernel);
    let Some(Action::Attach { connection, .. }) = routing.first() else { panic!("attaches") };
    kernel.link_down(*connection, NodeDownReason::ConnectionClosed);
    let announcing = acknowledge(&mut kernel, &routing, 1);
    assert!(matches!(announcing[..], [Action::Broadcast { order: Order::NodeUp { .. }, .. }]));
    let unrouting = acknowledge(&mut kernel, &announcing, 1);
    assert!(matches!(unrouting[..], [Action::Broadcast { order: Order::RouteDown { .. }, .. }]));
}

#[test]
fn allow_matches_full_names_hosts_and_heads_inbound_but_only_names_outbound() {
    let mut kernel = machine(1);
    kernel.allow(["a@h".into(), "lan".into(), "ops@".into()]).unwrap();
    for (name, allowed) in
        [("a@h", true), ("x@lan", true), ("ops@far", true), ("b@h", false), ("a@far", false)]
    {
        let refused = kernel.inbound(&Atom::new(name).unwrap()).1 == Decision::NotAllowed;
        assert_eq!(!refused, allowed, "{name}");
    }
    kernel.connect(&Atom::from_static("x@lan"), false, Some(WaiterId(1)));
    assert_eq!(drain(&mut kernel), [not_connected(1, ConnectError::NotAllowed)]);
}

#[test]
fn who_is_allowed_is_told_in_the_order_in_which_it_was_said() {
    let mut kernel = machine(1);
    kernel.allow([]).unwrap();
    assert!(kernel.allowed().is_empty());
    assert_eq!(kernel.inbound(&Atom::from_static("a@h")).1, Decision::Ok);
    kernel.allow(["b@h".into(), "a@h".into()]).unwrap();
    kernel.allow(["c@h".into(), "a@h".into()]).unwrap();
    assert_eq!(kernel.allowed(), ["b@h", "a@h", "c@h"]);
}

#[test]
fn who_awaits_the_peer_has_its_connection_or_gives_up_in_time() {
    let mut kernel = machine(1);
    let (node, now) = (Atom::from_static("a@h"), Instant::now());
    kernel.await_peer(&node, WaiterId(1), now);
    assert_eq!(drain(&mut kernel), []);
    kernel.expire(now + SETUP);
    let waited = ConnectError::PeersAttempt { waited: SETUP };
    assert_eq!(drain(&mut kernel), [not_connected(1, waited)]);

    kernel.await_peer(&node, WaiterId(2), now);
    let (attempt, _) = kernel.inbound(&node);
    kernel.established(attempt, peer());
    let routing = drain(&mut kernel);
    let announcing = acknowledge(&mut kernel, &routing, 1);
    let up = acknowledge(&mut kernel, &announcing, 1);
    assert!(up.contains(&Action::Connected { waiter: WaiterId(2), result: Ok(()) }));
    kernel.await_peer(&node, WaiterId(3), now);
    assert_eq!(drain(&mut kernel), [Action::Connected { waiter: WaiterId(3), result: Ok(()) }]);
    let own = kernel.local().cloned().unwrap();
    kernel.await_peer(&own, WaiterId(4), now);
    assert_eq!(drain(&mut kernel), [Action::Connected { waiter: WaiterId(4), result: Ok(()) }]);
}

#[test]
fn a_node_that_is_awaited_can_be_called_all_the_same() {
    let mut kernel = machine(1);
    let (node, now) = (Atom::from_static("a@h"), Instant::now());
    kernel.await_peer(&node, WaiterId(1), now);
    kernel.connect(&node, false, Some(WaiterId(2)));
    let dials = drain(&mut kernel);
    let [Action::Dial { attempt, .. }] = dials[..] else { panic!("one dial: {dials:?}") };
    kernel.failed(attempt, ConnectError::GivenUp);
    assert_eq!(drain(&mut kernel).len(), 2, "both are answered");
    assert_eq!(kernel.deadline(), None);
}

#[test]
fn hope_for_a_call_is_nothing_that_is_under_way() {
    let mut kernel = machine(1);
    let (node, now) = (Atom::from_static("a@h"), Instant::now());
    kernel.await_peer(&node, WaiterId(1), now);
    assert!(!kernel.is_under_way(&node));
    kernel.connect(&node, false, None);
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("one dial") };
    assert!(kernel.is_under_way(&node));
    kernel.failed(attempt, ConnectError::GivenUp);
    // One that is refused leaves nothing that would end.
    kernel.allow(["b@h".into()]).expect("room for it");
    kernel.await_peer(&node, WaiterId(2), now);
    kernel.connect(&node, false, None);
    assert!(!kernel.is_under_way(&node));
}

#[test]
fn connections_of_a_node_are_numbered_and_it_stays_known() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    for number in 1..=2 {
        let id = bring_up(&mut kernel, &node);
        let nodes = kernel.nodes();
        assert_eq!((nodes[0].connection, nodes[0].connection_id), (id, number));
        kernel.link_down(id, NodeDownReason::ConnectionClosed);
        settle_down(&mut kernel);
    }
    assert!(kernel.nodes().is_empty());
    assert_eq!(kernel.known().collect::<Vec<_>>(), [&node]);
}

#[test]
fn who_is_connected_or_about_to_be_needs_no_leave_to_be_called() {
    let mut kernel = machine(1);
    let (up, coming, other) =
        (Atom::from_static("a@h"), Atom::from_static("b@h"), Atom::from_static("c@h"));
    bring_up(&mut kernel, &up);
    kernel.connect(&coming, false, Some(WaiterId(1)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.allow(["x@h".into()]).unwrap();
    kernel.connect(&up, false, Some(WaiterId(2)));
    let told = |waiter| Action::Connected { waiter: WaiterId(waiter), result: Ok(()) };
    assert_eq!(drain(&mut kernel), [told(2)]);
    kernel.connect(&coming, false, Some(WaiterId(3)));
    assert!(drain(&mut kernel).is_empty(), "it waits for the attempt that is under way");
    kernel.failed(attempt, ConnectError::GivenUp);
    let given_up = |waiter| not_connected(waiter, ConnectError::GivenUp);
    assert_eq!(drain(&mut kernel), [given_up(1), given_up(3)]);
    for node in [&coming, &other] {
        kernel.connect(node, false, Some(WaiterId(4)));
        assert_eq!(drain(&mut kernel), [not_connected(4, ConnectError::NotAllowed)]);
    }
}

#[test]
fn stopping_ends_every_link_and_refuses_newcomers() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let id = bring_up(&mut kernel, &node);
    kernel.stop(&NodeDownReason::NetKernelTerminated);
    assert!(matches!(
        drain(&mut kernel)[..],
        [Action::CloseLink { reason: NodeDownReason::NetKernelTerminated, .. }]
    ));
    assert!(!kernel.is_quiet());
    kernel.link_down(id, NodeDownReason::NetKernelTerminated);
    settle_down(&mut kernel);
    assert!(kernel.is_quiet() && kernel.is_at_rest());
    assert_eq!(kernel.inbound(&node).1, Decision::NotAllowed);
}

#[test]
fn nothing_replaces_a_link_that_ends_with_the_life() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let id = bring_up(&mut kernel, &node);
    let (attempt, _) = kernel.inbound(&node);
    kernel.verified(attempt);
    kernel.stop(&NodeDownReason::NetKernelTerminated);
    let actions = drain(&mut kernel);
    assert!(matches!(actions[..], [Action::CloseLink { .. }, Action::Abort { .. }]), "{actions:?}");
    kernel.link_down(id, NodeDownReason::NetKernelTerminated);
    assert!(settle_down(&mut kernel).is_empty());
    assert!(kernel.is_at_rest(), "{kernel:?}");
}

#[test]
fn whoever_was_allowed_is_forgotten_with_the_life() {
    let mut kernel = machine(1);
    kernel.allow(["x@h".into()]).unwrap();
    kernel.stop(&NodeDownReason::NetKernelTerminated);
    kernel.start(Atom::from_static("m@h"));
    assert!(kernel.allowed().is_empty());
    assert_eq!(kernel.inbound(&Atom::from_static("a@h")).1, Decision::Ok);
}

#[test]
fn the_first_proven_attempt_settles_alone() {
    let mut kernel = machine(1);
    let node = Atom::from_static("z@h");
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt: ours, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    let (theirs, _) = kernel.inbound(&node);
    kernel.proven(theirs);
    assert_eq!(drain(&mut kernel), [Action::Abort { attempt: ours }]);
    // Neither a second connect nor a late winner disturbs it.
    kernel.connect(&node, false, Some(WaiterId(2)));
    kernel.proven(ours);
    assert_eq!(drain(&mut kernel), [Action::Abort { attempt: ours }]);
    assert!(!kernel.nodes().iter().any(|up| up.name == node), "not up before all is settled");
    kernel.established(theirs, peer());
    settle_up(&mut kernel);
    assert_eq!(kernel.nodes().len(), 1);
}

#[test]
fn whoever_waits_is_answered_when_settling_fails() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    kernel.connect(&node, false, Some(WaiterId(1)));
    let [Action::Dial { attempt, .. }] = drain(&mut kernel)[..] else { panic!("dials") };
    kernel.proven(attempt);
    assert!(drain(&mut kernel).is_empty());
    kernel.failed(attempt, ConnectError::GivenUp);
    assert_eq!(drain(&mut kernel), [not_connected(1, ConnectError::GivenUp)]);
    kernel.connect(&node, false, None);
    assert!(matches!(drain(&mut kernel)[..], [Action::Dial { .. }]), "it may be tried again");
}

#[test]
fn a_peer_that_starts_anew_ends_what_was_being_settled_with_it() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let (first, _) = kernel.inbound(&node);
    kernel.proven(first);
    let (second, decision) = kernel.inbound(&node);
    assert_eq!(decision, Decision::Alive, "a stranger cannot end it");
    assert!(drain(&mut kernel).is_empty());
    kernel.verified(second);
    assert_eq!(
        drain(&mut kernel),
        [Action::Abort { attempt: first }, Action::Acknowledge { attempt: second }]
    );
    kernel.established(second, peer());
    settle_up(&mut kernel);
}

#[test]
fn what_settles_while_the_last_connection_goes_down_comes_up_after_it() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let first = bring_up(&mut kernel, &node);
    kernel.link_down(first, NodeDownReason::ConnectionClosed);
    let (attempt, _) = kernel.inbound(&node);
    kernel.proven(attempt);
    assert!(settle_down(&mut kernel).is_empty(), "nothing comes up before it is settled");
    kernel.established(attempt, peer());
    settle_up(&mut kernel);
    // And when it fails, nobody waits for it.
    let second = kernel.nodes()[0].connection;
    kernel.link_down(second, NodeDownReason::ConnectionClosed);
    let (attempt, _) = kernel.inbound(&node);
    kernel.proven(attempt);
    kernel.connect(&node, false, Some(WaiterId(3)));
    settle_down(&mut kernel);
    kernel.failed(attempt, ConnectError::GivenUp);
    assert_eq!(drain(&mut kernel), [not_connected(3, ConnectError::GivenUp)]);
}

#[test]
fn whoever_comes_while_something_is_ready_replaces_it() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let connection = bring_up(&mut kernel, &node);
    kernel.link_down(connection, NodeDownReason::ConnectionClosed);
    let (ready, _) = kernel.inbound(&node);
    kernel.established(ready, peer());
    let (newcomer, decision) = kernel.inbound(&node);
    assert_eq!(decision, Decision::Alive);
    // What was ready is up before the newcomer has proven the cookie.
    let unrouting = drain(&mut kernel);
    let mourning = acknowledge(&mut kernel, &unrouting, 1);
    let routing = acknowledge(&mut kernel, &mourning, 1);
    let [Action::Attach { attempt, connection, .. }, _] = routing[..] else {
        panic!("it comes up: {routing:?}")
    };
    assert_eq!(attempt, ready);
    kernel.verified(newcomer);
    let [Action::CloseLink { connection: closed, .. }] = drain(&mut kernel)[..] else {
        panic!("it gives way")
    };
    assert_eq!(closed, connection);
    let announcing = acknowledge(&mut kernel, &routing, 1);
    acknowledge(&mut kernel, &announcing, 1);
    kernel.link_down(connection, NodeDownReason::WaitPending);
    assert_eq!(settle_down(&mut kernel), [Action::Acknowledge { attempt: newcomer }]);
}

#[test]
fn of_several_that_settle_while_a_connection_goes_down_the_last_one_comes_up() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let first = bring_up(&mut kernel, &node);
    kernel.link_down(first, NodeDownReason::ConnectionClosed);
    let (given_up, _) = kernel.inbound(&node);
    kernel.established(given_up, peer());
    let (last, _) = kernel.inbound(&node);
    kernel.asks(last);
    let unrouting = drain(&mut kernel);
    let won = [Action::Abort { attempt: given_up }, Action::Acknowledge { attempt: last }];
    assert_eq!(unrouting[1..], won);
    kernel.established(last, peer());
    let mourning = acknowledge(&mut kernel, &unrouting, 1);
    let after = acknowledge(&mut kernel, &mourning, 1);
    assert!(matches!(after[0], Action::Attach { attempt, .. } if attempt == last), "{after:?}");
    let announcing = acknowledge(&mut kernel, &after, 1);
    acknowledge(&mut kernel, &announcing, 1);
    assert!(kernel.is_at_rest(), "{kernel:?}");
}

#[test]
fn of_several_that_replace_a_link_the_last_one_does() {
    let mut kernel = machine(1);
    let node = Atom::from_static("a@h");
    let first = bring_up(&mut kernel, &node);
    let (given_up, _) = kernel.inbound(&node);
    let (last, _) = kernel.inbound(&node);
    kernel.verified(given_up);
    kernel.verified(last);
    let actions = drain(&mut kernel);
    assert!(matches!(actions[..], [Action::CloseLink { .. }, Action::Abort { attempt }]
        if attempt == given_up));
    kernel.link_down(first, NodeDownReason::WaitPending);
    assert_eq!(settle_down(&mut kernel), [Action::Acknowledge { attempt: last }]);
    kernel.established(last, peer());
    settle_up(&mut kernel);
    assert!(kernel.is_at_rest(), "{kernel:?}");
}

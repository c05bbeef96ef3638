//! The tick time and its change: the same answers, the same ticks on the wire and the same deaths as
//! on Erlang nodes.

use std::thread;
use std::time::{Duration, Instant};

use krarup_tests::{KrarupNode, Lab, OtpNode, PeerIdentity, RawPeer, Release, until};

/// OTP promises to notice silence within the tick time and a quarter more; the rest is for a busy
/// machine.
const SILENCE_NOTICED: Duration = Duration::from_secs(5 + 5);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_calls_have_the_answers_of_otp() {
    with_every_release(calls_have_the_answers_of_otp);
}

#[test]
fn a_change_sends_the_ticks_that_otp_sends() {
    with_every_release(change_sends_the_ticks_that_otp_sends);
}

#[test]
fn a_changed_tick_time_keeps_the_living_and_finds_the_dead() {
    with_every_release(changed_tick_time_keeps_the_living_and_finds_the_dead);
}

/// All at once: most of the time they wait.
fn with_every_release(test: fn(Release)) {
    thread::scope(|scope| {
        for release in Release::all() {
            scope.spawn(move || test(release));
        }
    });
}

/// A Krarup node, an Erlang node, and another one that asks both.
fn nodes(lab: &Lab, release: Release, ticktime: &str) -> (KrarupNode, OtpNode, OtpNode) {
    let krarup = lab.krarup("k").args(["--net-ticktime", ticktime]).start();
    let arguments = ["-kernel", "net_ticktime", ticktime];
    let otp = lab.otp(release, "o").args(arguments).start();
    let asker = lab.otp(release, "asker").args(arguments).start();
    (krarup, otp, asker)
}

fn calls_have_the_answers_of_otp(release: Release) {
    let lab = Lab::new();
    let (krarup, otp, mut asker) = nodes(&lab, release, "8");
    asker.eval(
        "Ask = fun(Node, M, F, A) ->
            try erpc:call(Node, M, F, A)
            catch error:{exception, Reason, _} -> {error, Reason}
            end
        end, ok.",
    );
    let mut both_say = |question: &str| {
        [otp.name(), krarup.name()]
            .map(|node| asker.eval(&format!("(fun(Node) -> {question} end)('{node}').")))
    };
    let set = |arguments: &str| format!("Ask(Node, net_kernel, set_net_ticktime, [{arguments}])");
    let get = "Ask(Node, net_kernel, get_net_ticktime, [])";
    let server = "gen_server:call({net_kernel, Node}, ticktime)";
    for wrong in ["0", "-8", "a", "8, -1", "8, a", "4.5"] {
        let [of_otp, ours] = both_say(&set(wrong));
        assert_eq!(ours, of_otp, "{wrong}");
    }
    assert_eq!((both_say(get), both_say(server)), (twice("8"), twice("8000")));
    assert_eq!(both_say(&set("8")), twice("unchanged"));
    assert_eq!(both_say(&set("4, 2")), twice("change_initiated"));
    assert_eq!(both_say(&set("8, 2")), twice("{ongoing_change_to,4}"));
    assert_eq!(both_say(&set("4")), twice("{ongoing_change_to,4}"));
    assert_eq!(both_say(get), twice("{ongoing_change_to,4}"));
    assert_eq!(both_say(server), twice("{ongoing_change_to,4000}"));
    until("the change is over", SOON, || (both_say(get) == ["4", "4"]).then_some(()));
    assert_eq!(both_say(&set("4, 0")), twice("unchanged"));
    // Without a transition it is done at once, and rounding is up to whole intervals.
    assert_eq!(both_say(&set("9, 0")), twice("change_initiated"));
    assert_eq!(both_say(get), twice("9"));
}

fn twice(answer: &str) -> [String; 2] {
    [answer.to_owned(), answer.to_owned()]
}

fn change_sends_the_ticks_that_otp_sends(release: Release) {
    let lab = Lab::new();
    let (krarup, otp, mut asker) = nodes(&lab, release, "8");
    for node in [krarup.name(), otp.name()] {
        assert_eq!(asker.eval(&format!("net_adm:ping('{node}').")), "pong");
    }
    let port = asker.eval("{port, Port, _} = erl_epmd:port_please(\"o\", {127,0,0,1}), Port.");
    let otp_port: u16 = port.parse().expect("a port");
    let start = Instant::now();
    let counting = [krarup.port(), otp_port]
        .map(|port| thread::spawn(move || ticks_within(port, start, Duration::from_secs(6))));
    until("both peers are there", SOON, || {
        let visible = [krarup.name(), otp.name()]
            .map(|node| asker.eval(&format!("erpc:call('{node}', erlang, nodes, [hidden]).")));
        visible.iter().all(|nodes| nodes.contains("raw@")).then_some(())
    });
    for node in [krarup.name(), otp.name()] {
        let set = format!("erpc:call('{node}', net_kernel, set_net_ticktime, [4, 2]).");
        assert_eq!(asker.eval(&set), "change_initiated");
    }
    let [ours, of_otp] = counting.map(|counting| counting.join().expect("it counts"));
    // One at once, one each second of the transition, and as many after it; ticks of the interval
    // that ran before may be among them.
    assert!(ours.abs_diff(of_otp) <= 1, "{ours} ticks here, {of_otp} from OTP");
    assert!(ours >= 4, "{ours} ticks");
}

/// How many ticks come until so long after the start, of a peer that is never silent itself.
fn ticks_within(port: u16, start: Instant, window: Duration) -> usize {
    let identity = PeerIdentity::plain(&format!("raw@127.0.0.{}", 1 + port % 2));
    let mut peer = RawPeer::connect(port, &identity).expect("a connection");
    let mut ticks = 0;
    loop {
        let frame = peer.read_frame_or_tick().expect("ticks keep coming");
        if start.elapsed() > window {
            return ticks;
        }
        if frame.is_empty() {
            ticks += 1;
        }
        // Whatever comes is answered by a tick.
        peer.send_frame(&[]).expect("the connection stays");
    }
}

fn changed_tick_time_keeps_the_living_and_finds_the_dead(release: Release) {
    let lab = Lab::new();
    let (mut krarup, mut otp, mut asker) = nodes(&lab, release, "60");
    for node in [krarup.name(), otp.name()] {
        assert_eq!(asker.eval(&format!("net_adm:ping('{node}').")), "pong");
    }
    otp.eval("krarup_peer:watch_nodes().");
    assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
    let printed = krarup.process().lines_printed();
    for node in [krarup.name(), otp.name(), "asker@127.0.0.1"] {
        let set = format!("erpc:call('{node}', net_kernel, set_net_ticktime, [4, 1]).");
        assert_eq!(asker.eval(&set), "change_initiated");
    }
    // Longer than the new time, with nothing to say but ticks.
    thread::sleep(Duration::from_secs(7));
    for node in [krarup.name(), otp.name()] {
        assert_eq!(asker.eval(&format!("lists:member('{node}', nodes()).")), "true");
    }
    otp.process().signal("STOP");
    let stopped = Instant::now();
    // Before it is down the intervals are counted in which nothing came.
    let is_counted = format!(
        "lists:any(fun(#{{node := N, silent_intervals := S, missed_tick_intervals := M}}) ->
            N =:= '{}' andalso S > 0 andalso M >= S
        end, maps:get(links, erpc:call('{}', krarup, metrics, []))).",
        otp.name(),
        krarup.name(),
    );
    asker.eval_until(&is_counted, "true", SOON);
    let reason = krarup.wait_nodedown(printed, otp.name(), SILENCE_NOTICED);
    assert_eq!(reason, "net_tick_timeout");
    assert!(stopped.elapsed() >= Duration::from_secs(2), "it ended too early");
    krarup.process().wait_line("down after one more quarter", SOON);
    otp.process().signal("CONT");
}

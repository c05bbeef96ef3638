//! Peers that die, freeze or cannot be reached: each side notices in time, says why, and they
//! find each other again.

use std::time::{Duration, Instant};

use krarup_tests::{Cable, KrarupNode, Lab, OtpNode, Release, for_each_release, missing};

/// The tick time that both sides run with, in seconds.
const TICK_TIME: &str = "4";
/// OTP promises to notice silence within the tick time and a quarter more; the rest is for a busy
/// machine.
const SILENCE_NOTICED: Duration = Duration::from_secs(5 + 5);
/// How long a broken connection may take to be noticed.
const BREAK_NOTICED: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(20);

for_each_release!(
    a_killed_krarup_node_is_down_at_once,
    a_killed_erlang_node_is_down_at_once,
    a_frozen_krarup_node_is_down_within_the_tick_time,
    a_frozen_erlang_node_is_down_within_the_tick_time,
    a_cut_cable_is_noticed_by_both,
);

/// Two nodes with a short tick time, connected and watching each other.
fn pair(lab: &Lab, release: Release) -> (KrarupNode, OtpNode) {
    let krarup = lab.krarup("a").args(["--net-ticktime", TICK_TIME]).start();
    let otp = lab.otp(release, "b").args(["-kernel", "net_ticktime", TICK_TIME]).start();
    connected(krarup, otp)
}

fn connected(krarup: KrarupNode, mut otp: OtpNode) -> (KrarupNode, OtpNode) {
    otp.eval("krarup_peer:watch_nodes().");
    assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
    otp.eval(&format!(
        "Echo = {{echo, '{}'}}, process_flag(trap_exit, true), Monitor = monitor(process, Echo).",
        krarup.name()
    ));
    (krarup, otp)
}

/// Waits until Erlang has seen the node go, and checks the reason and the monitor.
fn expect_down(otp: &mut OtpNode, node: &str, reason: &str, within: Duration) {
    let events = format!("lists:last(krarup_peer:watched('{node}')).");
    otp.eval_until(&events, &format!("{{down,{reason}}}"), within);
    let monitor = "receive {'DOWN', Monitor, process, _, Down} -> Down after 5000 -> timeout end.";
    assert_eq!(otp.eval(monitor), "noconnection");
}

fn a_killed_krarup_node_is_down_at_once(release: Release) {
    let lab = Lab::new();
    let (mut krarup, mut otp) = pair(&lab, release);
    let name = krarup.name().to_owned();
    krarup.process().kill();
    expect_down(&mut otp, &name, "connection_closed", BREAK_NOTICED);
    // Its next life is another one, and welcome.
    let krarup = lab.krarup("a").args(["--net-ticktime", TICK_TIME]).start();
    assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
    assert_eq!(otp.eval("krarup_peer:ask(Echo, again, 5000)."), "again");
}

fn a_killed_erlang_node_is_down_at_once(release: Release) {
    let lab = Lab::new();
    let (mut krarup, mut otp) = pair(&lab, release);
    let start = krarup.process().lines_printed();
    otp.process().kill();
    // What it had not read yet makes its kernel reset the connection.
    let reason = krarup.wait_nodedown(start, otp.name(), BREAK_NOTICED);
    assert!(reason.starts_with("connection_closed"), "{reason}");
    let (_krarup, mut otp) = connected(krarup, lab.otp(release, "b").start());
    assert_eq!(otp.eval("krarup_peer:ask(Echo, again, 5000)."), "again");
}

fn a_frozen_krarup_node_is_down_within_the_tick_time(release: Release) {
    let lab = Lab::new();
    let (mut krarup, mut otp) = pair(&lab, release);
    let name = krarup.name().to_owned();
    krarup.process().signal("STOP");
    let start = Instant::now();
    expect_down(&mut otp, &name, "net_tick_timeout", SILENCE_NOTICED);
    assert!(start.elapsed() >= Duration::from_secs(2), "a tick time of 4 s ended too early");
    // When it thaws it finds the connection gone, says so, and can be reached again.
    let printed = krarup.process().lines_printed();
    krarup.process().signal("CONT");
    krarup.wait_nodedown(printed, otp.name(), SOON);
    otp.eval_until(&format!("net_adm:ping('{name}')."), "pong", SOON);
    assert_eq!(otp.eval("krarup_peer:ask(Echo, again, 5000)."), "again");
}

fn a_frozen_erlang_node_is_down_within_the_tick_time(release: Release) {
    let lab = Lab::new();
    let (mut krarup, mut otp) = pair(&lab, release);
    let printed = krarup.process().lines_printed();
    otp.process().signal("STOP");
    let start = Instant::now();
    let reason = krarup.wait_nodedown(printed, otp.name(), SILENCE_NOTICED);
    assert_eq!(reason, "net_tick_timeout");
    assert!(start.elapsed() >= Duration::from_secs(2), "a tick time of 4 s ended too early");
    otp.process().signal("CONT");
    let name = krarup.name().to_owned();
    otp.eval_until(&format!("net_adm:ping('{name}')."), "pong", SOON);
    assert_eq!(otp.eval("krarup_peer:ask(Echo, again, 5000)."), "again");
}

fn a_cut_cable_is_noticed_by_both(release: Release) {
    if missing("netns") {
        return;
    }
    let lab = Lab::without_epmd();
    let cable = Cable::new();
    let tick = ["--net-ticktime", TICK_TIME];
    let krarup = lab
        .krarup("a")
        .host(&cable.left_address())
        .namespace(cable.left())
        .args(["--epmd", "embedded"])
        .args(tick)
        .start();
    // Each host has its own epmd, as hosts have.
    let _epmd = lab.start_epmd_in(cable.right(), release);
    let otp = lab
        .otp(release, "b")
        .host(&cable.right_address())
        .namespace(cable.right())
        .args(["-kernel", "net_ticktime", TICK_TIME])
        .start();
    let (mut krarup, mut otp) = connected(krarup, otp);
    let name = krarup.name().to_owned();
    assert_eq!(otp.eval("krarup_peer:ask(Echo, before, 5000)."), "before");
    // Idle for longer than the tick time: the ticks of both keep it up.
    otp.eval_within("timer:sleep(6000).", SOON);
    assert_eq!(otp.eval(&format!("krarup_peer:watched('{name}').")), "[up]");

    let printed = krarup.process().lines_printed();
    cable.cut();
    expect_down(&mut otp, &name, "net_tick_timeout", SILENCE_NOTICED);
    let reason = krarup.wait_nodedown(printed, otp.name(), SILENCE_NOTICED);
    assert_eq!(reason, "net_tick_timeout");
    cable.mend();
    otp.eval_until(&format!("net_adm:ping('{name}')."), "pong", SOON);
    assert_eq!(otp.eval("krarup_peer:ask(Echo, again, 5000)."), "again");
}

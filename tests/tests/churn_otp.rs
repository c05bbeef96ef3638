//! Connections that come and go: nothing of them may stay behind, on either side.

use std::time::Duration;

use krarup_tests::{Lab, Release, for_each_release, until};

const SOON: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(240);
/// Rounds before the first measurement, so that what is made once is there.
const WARM_UP: u32 = 100;
const ROUNDS: u32 = 1000;
/// What both may grow by in all rounds together: a leak of 4 KiB per connection shows.
const GROWTH_KIB_MAX: u64 = 3 * 1024;

for_each_release!(a_thousand_connections_leave_nothing_behind);

fn a_thousand_connections_leave_nothing_behind(release: Release) {
    let lab = Lab::new();
    let mut krarup = lab.krarup("a").start();
    let mut otp = lab.otp(release, "b").start();
    let name = krarup.name().to_owned();
    let churn = |times: u32| format!("krarup_peer:churn('{name}', {times}).");
    assert_eq!(otp.eval_within(&churn(WARM_UP), LONG), "ok");
    // Erlang's own memory, without what waits for the collector.
    let memory = "[garbage_collect(P) || P <- processes()],
        (erlang:memory(total) - erlang:memory(code)) div 1024.";
    let otp_memory = |otp: &mut krarup_tests::OtpNode| -> u64 {
        otp.eval(memory).parse().expect("a number of KiB")
    };
    let before = (
        krarup.process().descriptors(),
        krarup.process().resident_kib(),
        otp.process().descriptors(),
        otp_memory(&mut otp),
    );
    assert_eq!(otp.eval_within(&churn(ROUNDS), LONG), "ok");
    until("the descriptors of both are as before", SOON, || {
        let now = (krarup.process().descriptors(), otp.process().descriptors());
        (now.0 <= before.0 && now.1 <= before.2).then_some(())
    });
    let (krarup_now, otp_now) = (krarup.process().resident_kib(), otp_memory(&mut otp));
    assert!(krarup_now <= before.1 + GROWTH_KIB_MAX, "Krarup: {} KiB to {krarup_now}", before.1);
    assert!(otp_now <= before.3 + GROWTH_KIB_MAX, "OTP: {} KiB to {otp_now}", before.3);
    assert_eq!(otp.eval(&format!("net_adm:ping('{name}').")), "pong");
}

#[test]
fn many_krarup_nodes_come_and_go_at_one_erlang_node() {
    if Release::R29.is_missing() {
        return;
    }
    let lab = Lab::new();
    let mut otp = lab.otp(Release::R29, "b").start();
    let rounds = if cfg!(feature = "long") { 1000 } else { 200 };
    let before = otp.process().descriptors();
    for round in 0..rounds {
        let name = format!("visitor{round}@127.0.0.1");
        let outcome = lab.run(["ping", otp.name(), "--name", &name, "--cookie", "c"]);
        assert_eq!(outcome.expect_code(0).stdout.trim(), "pong");
    }
    otp.eval_until("nodes(connected).", "[]", SOON);
    until("Erlang has closed every socket", SOON, || {
        (otp.process().descriptors() <= before).then_some(())
    });
}

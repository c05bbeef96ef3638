//! Much at once, to and from a real Erlang node: big terms, long lists, many senders.

use std::time::Duration;

use krarup_tests::{KrarupNode, Lab, OtpNode, Release, for_each_release};

/// Generous: the node under test may be built without optimisation, on a machine shared with
/// other tests.
const BIG: Duration = Duration::from_secs(120);

for_each_release!(messages_of_many_senders_arrive_once_and_in_order);

fn pair(lab: &Lab, release: Release) -> (KrarupNode, OtpNode) {
    let (krarup, mut otp) = (lab.krarup("a").start(), lab.otp(release, "b").start());
    otp.eval(&format!("Echo = {{echo, '{}'}}, Sink = {{sink, '{0}'}}.", krarup.name()));
    (krarup, otp)
}

fn messages_of_many_senders_arrive_once_and_in_order(release: Release) {
    let lab = Lab::new();
    let (_krarup, mut otp) = pair(&lab, release);
    // 64 processes with 1,600 messages each: 102,400 there, each checked in order on its way back.
    assert_eq!(otp.eval_within("krarup_peer:flood_echo(Echo, 64, 1600, 30000).", BIG), "ok");
    // The same, one way.
    assert_eq!(otp.eval_within("krarup_peer:flood(Sink, 64, 1600).", BIG), "[normal]");
    let report = "Sink ! {self(), report}, element(2, krarup_peer:next(5000)).";
    otp.eval_until(report, "102400", BIG);
}

#[test]
fn any_number_of_shards_keeps_the_order() {
    if Release::R29.is_missing() {
        return;
    }
    // One, and more than there are cores on most machines that run this.
    for shards in ["1", "5"] {
        let lab = Lab::new();
        let krarup = lab.krarup("a").args(["--shards", shards]).start();
        assert_eq!(krarup.ready().shards.to_string(), shards);
        // Several links, so that several shards have one.
        let mut nodes: Vec<OtpNode> =
            (0..3).map(|number| lab.otp(Release::R29, &format!("b{number}")).start()).collect();
        let flood =
            format!("krarup_peer:flood_echo({{echo, '{}'}}, 16, 400, 30000).", krarup.name());
        let begun: Vec<usize> = nodes.iter_mut().map(|node| node.begin(&flood)).collect();
        for (node, start) in nodes.iter_mut().zip(begun) {
            assert_eq!(node.finish(start, &flood, BIG), "ok", "{shards} shards");
        }
        krarup.stop();
    }
}

#[test]
fn a_hundred_mebibytes_come_back_equal() {
    if Release::R29.is_missing() {
        return;
    }
    let lab = Lab::new();
    let (mut krarup, mut otp) = pair(&lab, Release::R29);
    otp.eval("Big = binary:copy(crypto:strong_rand_bytes(1 bsl 20), 100), byte_size(Big).");
    // The first message sets the connection up, and OTP sends such a one in a single frame; the
    // second goes in fragments.
    for _ in 0..2 {
        let question = "(fun() -> Back = krarup_peer:ask(Echo, Big, 100000),
            is_binary(Back) andalso erlang:md5(Big) =:= erlang:md5(Back) end)().";
        assert_eq!(otp.eval_within(question, BIG), "true");
    }
    // Small messages pass while megabytes are under way.
    otp.eval("spawn(fun() -> krarup_peer:ask(Echo, Big, 100000) end).");
    let worst = "lists:max([element(1, timer:tc(fun() ->
        Sink ! {self(), report}, {sink, _, _} = krarup_peer:next(30000) end))
        || _ <- lists:seq(1, 50)]) < 5000000.";
    assert_eq!(otp.eval_within(worst, BIG), "true");
    // Each needs its memory once, and the next one the same memory again.
    let before = krarup.process().resident_kib();
    for _ in 0..3 {
        otp.eval_within("krarup_peer:ask(Echo, Big, 100000), ok.", BIG);
    }
    let after = krarup.process().resident_kib();
    assert!(after < before + 64 * 1024, "{before} KiB have become {after} KiB");
}

#[test]
fn a_million_small_terms_come_back_equal() {
    if Release::R29.is_missing() {
        return;
    }
    let lab = Lab::new();
    let (_krarup, mut otp) = pair(&lab, Release::R29);
    otp.eval(
        "List = [case N rem 5 of
            0 -> N; 1 -> {n, N}; 2 -> <<N:32>>; 3 -> [N]; 4 -> N / 2
        end || N <- lists:seq(1, 1000000)], length(List).",
    );
    let question = "Back = krarup_peer:ask(Echo, List, 100000),
        {Back =:= List, erlang:phash2(Back) =:= erlang:phash2(List)}.";
    assert_eq!(otp.eval_within(question, BIG), "{true,true}");
}

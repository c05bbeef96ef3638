//! Three hosts that lose each other, in part and as a whole: what every node of either kind knows
//! of the others, and what reaches it, is right within the tick time.

use std::time::{Duration, Instant};

use krarup_tests::{
    Cluster, Hosts, KrarupNode, KrarupWitness, OtpNode, Release, Report, Watches, missing, until,
};

const WITNESS: &str = env!("CARGO_BIN_EXE_witness");
const HOSTS: usize = 3;
/// The tick time of all nodes, in seconds.
const TICK_TIME: u64 = 4;
/// Silence is noticed within the tick time and a quarter more; the rest is for a busy machine.
const NOTICED: Duration = Duration::from_secs(5 + 5);
/// An attempt to connect that began while nothing came through takes up to half the tick time.
const TOGETHER: Duration = Duration::from_secs(20);
/// A broken connection is noticed at once.
const AT_ONCE: Duration = Duration::from_secs(3);

/// What a slow host sends, in kilobits a second.
const SLOW_KILOBITS: u32 = 20_000;
const BULK_BYTES: usize = 300_000;
/// Time between two beats of one sender.
const BEAT: Duration = Duration::from_millis(100);
/// How often nodes are asked what they have seen.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Three hosts, each with a Krarup node and an Erlang node, all connected with all.
struct Scene {
    // Before the hosts that they run on.
    krarup: Vec<KrarupWitness>,
    otp: Vec<OtpNode>,
    /// A `krarup node` on the last host, if there is one.
    node: Option<KrarupNode>,
    cluster: Cluster,
    hosts: Hosts,
}

impl Scene {
    /// Nothing, where there can be no namespaces or one of the releases is missing.
    fn new(net_ticktime: u64, releases: [Option<Release>; HOSTS]) -> Option<Self> {
        Self::with_node(net_ticktime, releases, false)
    }

    /// As [`Scene::new`], maybe with a `krarup node`.
    fn with_node(
        net_ticktime: u64,
        releases: [Option<Release>; HOSTS],
        has_node: bool,
    ) -> Option<Self> {
        if missing("netns") || releases.iter().flatten().any(|release| release.is_missing()) {
            return None;
        }
        let mut hosts = Hosts::new(HOSTS);
        let mut witnesses: Vec<String> = (0..HOSTS).map(krarup_name).collect();
        for (host, release) in releases.iter().enumerate() {
            hosts.start_epmd(host, release.unwrap_or(Release::R25));
            witnesses.extend(release.map(|_| otp_name(host)));
        }
        let sinks = has_node.then(|| format!("n@{}", Hosts::address(HOSTS - 1)));
        let sinks = sinks.into_iter().collect();
        let cluster = Cluster { net_ticktime, witnesses, sinks, period: BEAT };
        let node = has_node.then(|| hosts.krarup_node(HOSTS - 1, "n", &cluster));
        let krarup = (0..HOSTS).map(|host| hosts.krarup_witness(WITNESS, host, "k", &cluster));
        let krarup = krarup.collect();
        let (on, all) = (&hosts, &cluster);
        let otp = std::thread::scope(|scope| {
            let start = |(host, release): (usize, Release)| {
                scope.spawn(move || on.otp_witness(release, host, "e", all))
            };
            let releases = releases.iter().enumerate();
            let starting: Vec<_> = releases
                .filter_map(|(host, release)| Some((host, (*release)?)))
                .map(start)
                .collect();
            starting.into_iter().map(|node| node.join().expect("the node starts")).collect()
        });
        let mut scene = Self { krarup, otp, node, cluster, hosts };
        scene.expect_all_together();
        Some(scene)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut dyn Watches> {
        let krarup = self.krarup.iter_mut().map(|node| -> &mut dyn Watches { node });
        krarup.chain(self.otp.iter_mut().map(|node| -> &mut dyn Watches { node }))
    }

    fn expect_all_together(&mut self) {
        self.expect(TOGETHER, |_, _| true);
    }

    /// Waits until every node shows exactly those nodes that `reaches` says, and hears of exactly
    /// those; nothing may have been seen that must not be.
    fn expect(&mut self, within: Duration, reaches: impl Fn(usize, usize) -> bool) {
        let all = [self.cluster.witnesses.clone(), self.cluster.sinks.clone()].concat();
        let reached_by = |own: &str| {
            let mut others = all.clone();
            others.retain(|other| *other != own && reaches(host_of(own), host_of(other)));
            others.sort_unstable();
            others
        };
        let (start, sinks) = (Instant::now(), self.cluster.sinks.clone());
        for node in self.all() {
            let own = node.node_name().to_owned();
            let mut others = reached_by(&own);
            let mut last = Report::default();
            let what = format!("{own} shows {others:?}");
            until(&what, within.saturating_sub(start.elapsed()).max(AT_ONCE), || {
                std::thread::sleep(LOOK_AGAIN);
                last = node.report();
                assert!(last.violations.is_empty(), "{own}: {:?}", last.violations);
                (last.nodes == others && last.owed.is_empty()).then_some(())
            });
            // Every witness that is shown is heard, on every way.
            let before = last;
            others.retain(|other| !sinks.contains(other));
            until(&format!("{own} hears {others:?}"), TOGETHER, || {
                std::thread::sleep(LOOK_AGAIN);
                let now = node.report();
                let hears = |other: &String| {
                    now.beats.get(other).copied().unwrap_or(0)
                        > before.beats.get(other).copied().unwrap_or(0)
                };
                others.iter().all(hears).then_some(())
            });
        }
    }

    fn expect_shown_by_node(&mut self, reaches: impl Fn(usize, usize) -> bool) {
        let Some(node) = &self.node else { return };
        let own = node.name().to_owned();
        let mut others = self.cluster.witnesses.clone();
        others.retain(|other| reaches(host_of(&own), host_of(other)));
        others.sort_unstable();
        let shown = format!("lists:sort(rpc:call('{own}', erlang, nodes, [connected])).");
        let quoted: Vec<String> = others.iter().map(|name| format!("'{name}'")).collect();
        let asker = self.otp.last_mut().expect("there are Erlang nodes");
        asker.eval_until(&shown, &format!("[{}]", quoted.join(",")), AT_ONCE);
    }

    /// Checks that every node has been told this of one host, and of no other.
    fn expect_last_event(&mut self, of: usize, by: impl Fn(usize) -> bool, allowed: &[&str]) {
        let names: Vec<String> =
            self.cluster.witnesses.iter().filter(|name| host_of(name) == of).cloned().collect();
        for node in self.all() {
            let own = node.node_name().to_owned();
            if !by(host_of(&own)) {
                continue;
            }
            let report = node.report();
            for name in &names {
                let events = report.events_of(name);
                let last = events.last().map_or("none", String::as_str);
                assert!(allowed.contains(&last), "{own} of {name}: {events:?}");
            }
        }
    }

    /// How often each node was told of nodes that went down.
    fn downs(&mut self) -> usize {
        let mut downs = 0;
        for node in self.all() {
            let report = node.report();
            let events = report.events.iter().flatten();
            downs += events.filter(|event| event.starts_with("down ")).count();
        }
        downs
    }
}

fn krarup_name(host: usize) -> String {
    format!("k@{}", Hosts::address(host))
}

fn otp_name(host: usize) -> String {
    format!("e@{}", Hosts::address(host))
}

fn host_of(name: &str) -> usize {
    (0..HOSTS).find(|host| name.ends_with(&Hosts::address(*host))).expect("a node of the scene")
}

/// Nobody has gone down, and nothing was seen that must not be, for so long.
fn stay_together(scene: &mut Scene, downs: usize, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert_eq!(scene.downs(), downs, "after {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
}

const ALL: [Option<Release>; HOSTS] = [Some(Release::R25), Some(Release::R27), Some(Release::R29)];

#[test]
fn a_host_that_is_cut_off_is_down_for_all_others_and_they_meet_again() {
    let Some(mut scene) = Scene::with_node(TICK_TIME, ALL, true) else { return };
    assert_eq!(scene.downs(), 0);
    scene.hosts.isolate(0);
    scene.expect(NOTICED, |a, b| (a == 0) == (b == 0));
    scene.expect_shown_by_node(|a, b| (a == 0) == (b == 0));
    scene.expect_last_event(0, |host| host != 0, &["down net_tick_timeout"]);
    scene.expect_last_event(1, |host| host == 0, &["down net_tick_timeout"]);
    scene.hosts.heal();
    scene.expect_all_together();
    scene.expect_shown_by_node(|_, _| true);
}

#[test]
fn what_is_lost_in_one_direction_parts_the_two_and_nobody_else() {
    let Some(mut scene) = Scene::new(TICK_TIME, ALL) else { return };
    for (from, to) in [(0, 1), (1, 0)] {
        scene.hosts.lose(from, to, 100);
        scene.expect(NOTICED, |a, b| (a, b) != (0, 1) && (a, b) != (1, 0));
        // Who gets nothing any more says so; the other may hear of it first.
        scene.expect_last_event(from, |host| host == to, &["down net_tick_timeout"]);
        let heard = ["down net_tick_timeout", "down connection_closed"];
        scene.expect_last_event(to, |host| host == from, &heard);
        scene.hosts.heal();
        scene.expect_all_together();
    }
}

#[test]
fn a_host_that_comes_back_is_another() {
    let Some(mut scene) = Scene::new(TICK_TIME, ALL) else { return };
    let gone = HOSTS - 1;
    // The first time its kernel closes the connections of those that were killed. The second time
    // all others still hold theirs when the next life begins.
    for power_stays_on in [true, false] {
        if power_stays_on {
            scene.hosts.kill_all(gone);
        } else {
            scene.hosts.power_off(gone);
        }
        scene.krarup.truncate(gone);
        scene.otp.truncate(gone);
        if power_stays_on {
            scene.expect(AT_ONCE, |_, other| other != gone);
            scene.expect_last_event(gone, |_| true, &["down connection_closed"]);
        }
        scene.hosts.start_epmd(gone, Release::R29);
        let krarup = scene.hosts.krarup_witness(WITNESS, gone, "k", &scene.cluster);
        scene.krarup.push(krarup);
        let otp = scene.hosts.otp_witness(Release::R29, gone, "e", &scene.cluster);
        scene.otp.push(otp);
        scene.hosts.heal();
        scene.expect_all_together();
    }
}

/// What a host sends takes its time: all of its nodes send bulk and small messages to nodes of both
/// kinds on another host.
fn saturate(time: Duration) {
    let Some(mut scene) = Scene::new(TICK_TIME, ALL) else { return };
    scene.hosts.slow_down(0, SLOW_KILOBITS);
    let (krarup, otp) = (krarup_name(1), otp_name(1));
    let seconds = time.as_secs();
    for to in [&krarup, &otp] {
        scene.krarup[0].send_bulk(to, BULK_BYTES, seconds);
        scene.otp[0].send_bulk(to, BULK_BYTES, seconds);
    }
    stay_together(&mut scene, 0, time);
    let mut received = 0;
    for node in scene.all() {
        let report = node.report();
        println!("{}: {:?}", node.node_name(), report.late_ms);
        received += report.bulk_bytes;
    }
    // The link was busy all the time.
    let most = u64::from(SLOW_KILOBITS) / 8 * 1000 * seconds;
    println!("{received} of {most} bytes");
    assert!(received > most / 2, "{received} of {most} bytes came through");
    scene.hosts.speed_up(0);
    scene.expect_all_together();
    assert_eq!(scene.downs(), 0);
}

#[test]
fn a_saturated_link_is_not_taken_for_a_dead_one() {
    saturate(Duration::from_secs(15));
}

#[cfg(feature = "long")]
#[test]
fn a_link_saturated_for_ten_minutes_is_not_taken_for_a_dead_one() {
    saturate(Duration::from_secs(600));
}

#[test]
fn lost_packets_cost_time_and_nothing_else() {
    let Some(mut scene) = Scene::new(2 * TICK_TIME, ALL) else { return };
    for (from, to) in [(0, 1), (1, 0), (1, 2)] {
        scene.hosts.lose(from, to, 10);
    }
    for from in 0..HOSTS {
        let to = krarup_name((from + 1) % HOSTS);
        scene.krarup[from].send_bulk(&to, BULK_BYTES, 4);
        scene.otp[from].send_bulk(&to, BULK_BYTES, 4);
    }
    stay_together(&mut scene, 0, Duration::from_secs(4));
    scene.hosts.heal();
    scene.expect_all_together();
    assert_eq!(scene.downs(), 0);
}

#[test]
fn a_lane_that_is_silent_for_half_the_tick_time_is_torn_and_resumed() {
    let Some(mut scene) = Scene::new(2 * TICK_TIME, [None; HOSTS]) else { return };
    for (from, to) in [(0, 1), (1, 0)] {
        let [all, connected, resumes] = scene.krarup[to].lanes();
        assert_eq!(all, connected, "all lanes are connected");
        scene.hosts.lose(from, to, 100);
        until("the lanes to one node are torn", NOTICED, || {
            (scene.krarup[to].lanes()[1] == all / 2).then_some(())
        });
        scene.hosts.heal();
        until("they go on", NOTICED, || {
            let [_, connected, now] = scene.krarup[to].lanes();
            (connected == all && now >= resumes + all / 2).then_some(())
        });
        scene.expect_all_together();
        assert_eq!(scene.downs(), 0);
    }
}

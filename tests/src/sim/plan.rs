//! What a run is made of: nodes, settings, how bad the network is.

use std::time::Duration;

use krarup_transport::dist::TickConfig;
use krarup_transport::dist::fragment::FragmentLimits;
use krarup_transport::fabric::{Hello, HostId, LaneLimits, ProcessNumber, VERSIONS};
use krarup_transport::handshake::{Cookie, NodeName};
use krarup_transport::term::Atom;

use super::names::FirstName;
use super::rng::Rng;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Connections break, one at a time, and nodes live: no session may end.
    Gentle,
    /// Everything: nodes die, hosts vanish, the network parts, bits flip.
    Wild,
    /// Few signals; the nodes themselves are what changes: they connect and disconnect in every
    /// way, allow each other and not, change cookies, stop, die, and vanish without a word.
    Fickle,
    /// As [`Weather::Fickle`], with some nodes that do as Erlang's do: without lanes, and with
    /// OTP's own way to make two attempts one.
    Mixed,
}

impl Weather {
    /// Whether the nodes themselves are what changes.
    pub(super) fn is_fickle(self) -> bool {
        matches!(self, Weather::Fickle | Weather::Mixed)
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Krarup,
    Otp(OtpStyle),
}

/// When an Erlang node counts an attempt of its own against one of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtpStyle {
    /// From its begin on, as OTP 25 and 27.
    AtOnce,
    /// Once it knows the peer's address, as OTP 29.
    OnceUnderWay,
}

/// A node, in all its lives.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: NodeName,
    /// Another name that it may have.
    pub(super) other_name: NodeName,
    pub(super) kind: Kind,
    pub(super) host: usize,
    pub(super) shards: usize,
    pub(super) lanes_max: u8,
    pub(super) asks_checksum: bool,
    pub(super) unix: bool,
    /// Does not offer to be visible.
    pub(super) hidden: bool,
    /// Processes on each shard.
    pub(super) processes: usize,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) weather: Weather,
    pub(super) specs: Vec<Spec>,
    pub(super) cookie: Cookie,
    pub(super) tick: TickConfig,
    pub(super) limits: LaneLimits,
    /// The longest message.
    pub(super) message_bytes_max: usize,
    /// Mean time between two sends of a shard.
    pub(super) send_gap: Duration,
    /// Mean time between two faults.
    pub(super) fault_gap: Duration,
    /// How long faults go on, each time.
    pub(super) storm: Duration,
    pub(super) rounds: u32,
    /// How long an item between two shards takes as a rule, and now and then, in µs.
    pub(super) mesh_delays: (u64, u64),
    /// What happens, happens between two nodes.
    pub(super) is_narrow: bool,
    pub(super) flip_one_in: Option<u64>,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng, weather: Weather) -> Plan {
        let nodes = match rng.below(4) {
            0 | 1 => 2,
            2 => 3,
            _ => rng.within(2..=8) as usize,
        };
        let hosts = rng.within(1..=nodes as u64) as usize;
        let checksums = rng.below(3);
        let specs = (0..nodes).map(|index| {
            let text = format!("{}@h{}", char::from(b'a' + index as u8), rng.below(3));
            Spec {
                name: NodeName::parse(&text).expect("a good name"),
                // Of two that were before and after each other the order is another one.
                other_name: NodeName::parse(&format!("z{text}")).expect("a good name"),
                kind: Kind::Krarup,
                host: rng.below(hosts),
                shards: rng.within(1..=4) as usize,
                lanes_max: *rng.pick(&[1, 2, 3, 8, 8, 8]),
                asks_checksum: checksums == 2 || (checksums == 1 && rng.chance(1, 2)),
                unix: rng.chance(3, 4),
                hidden: weather.is_fickle() && rng.chance(1, 5),
                processes: rng.within(1..=3) as usize,
            }
        });
        let specs = specs.collect();
        let small = rng.chance(1, 2);
        // Now and then a message is longer than every budget of a lane.
        let huge = !small && rng.chance(1, 6);
        let kib = |rng: &mut Rng, least: u64, most: u64| (rng.within(least..=most) as usize) << 10;
        let limits = LaneLimits {
            fragments: FragmentLimits {
                sequences_max: 64,
                sequence_bytes_max: if huge { 32 << 20 } else { 2 << 20 },
                connection_bytes_max: if huge { 256 << 20 } else { 16 << 20 },
            },
            outbox_bytes_max: if small { kib(rng, 4, 64) } else { 1 << 20 },
            outbox_bytes_low: if small { kib(rng, 1, 32) } else { 512 << 10 },
            replay_bytes_max: if small { kib(rng, 8, 256) } else { 8 << 20 },
            ack_bytes: if small { kib(rng, 1, 64) } else { 256 << 10 },
            outbox_reserve_bytes: 256 << 10,
            write_bytes_max: if small { kib(rng, 1, 64) } else { 256 << 10 },
            ..LaneLimits::DEFAULT
        };
        let tick_s = match weather {
            Weather::Gentle => *rng.pick(&[8, 60]),
            Weather::Wild => *rng.pick(&[2, 8, 60]),
            Weather::Fickle | Weather::Mixed => *rng.pick(&[2, 4, 8]),
        };
        let mut plan = Plan {
            weather,
            specs,
            cookie: Cookie::new("simulated").expect("a good cookie"),
            tick: TickConfig::new(Duration::from_secs(tick_s), 4),
            limits,
            message_bytes_max: match rng.below(3) {
                _ if huge => 20 << 20,
                0 => 1 << 20,
                _ => 100 << 10,
            },
            send_gap: Duration::from_micros(*rng.pick(&[200, 2000, 20_000])),
            fault_gap: Duration::from_millis(*rng.pick(match weather {
                Weather::Gentle => &[150, 500],
                Weather::Wild | Weather::Fickle | Weather::Mixed => &[20, 100, 1000],
            })),
            storm: Duration::from_millis(rng.within(500..=6000)),
            rounds: rng.within(1..=3) as u32,
            mesh_delays: (30, 2000),
            is_narrow: false,
            // Where no checksum finds it, a flipped bit is the end of all order.
            flip_one_in: (weather == Weather::Wild && checksums == 2 && rng.chance(1, 2))
                .then(|| *rng.pick(&[20, 200, 2000])),
        };
        if weather.is_fickle() {
            plan.be_fickle(rng);
        }
        if weather == Weather::Mixed || (weather == Weather::Wild && rng.chance(1, 2)) {
            plan.mix(rng);
        }
        plan
    }

    /// Some nodes are Erlang's, and not all of them.
    fn mix(&mut self, rng: &mut Rng) {
        let [krarup, otp] = self.two_indices(rng);
        for (index, spec) in self.specs.iter_mut().enumerate() {
            if index != krarup && (index == otp || rng.chance(1, 3)) {
                spec.be_otp(*rng.pick(&[OtpStyle::AtOnce, OtpStyle::OnceUnderWay]));
            }
        }
    }

    fn two_indices(&self, rng: &mut Rng) -> [usize; 2] {
        let count = if self.is_narrow { 2 } else { self.specs.len() };
        let one = rng.below(count);
        [one, (one + 1 + rng.below(count - 1)) % count]
    }

    /// Few nodes, lanes and signals: what matters is how connections come up and go down.
    fn be_fickle(&mut self, rng: &mut Rng) {
        self.specs.truncate(4);
        for spec in &mut self.specs {
            spec.shards = spec.shards.min(3);
            spec.lanes_max = spec.lanes_max.min(2);
            spec.processes = 1;
        }
        self.message_bytes_max = 4 << 10;
        self.send_gap = Duration::from_millis(200);
        // Orders that take their time meet what happens next.
        self.mesh_delays = *rng.pick(&[(30, 2000), (3000, 20_000), (30_000, 200_000)]);
        self.fault_gap = Duration::from_millis(*rng.pick(&[1, 10, 50, 300]));
        self.storm = self.fault_gap * rng.within(30..=150) as u32;
        self.is_narrow = rng.chance(1, 3);
        self.rounds = self.rounds.min(2);
    }

    pub(super) fn hello(&self, rng: &mut Rng, node: usize, port: u16) -> Hello {
        let spec = &self.specs[node];
        Hello {
            versions: VERSIONS,
            shards: spec.shards as u16,
            lanes_max: spec.lanes_max,
            asks_checksum: spec.asks_checksum,
            frame_bytes_max: self.limits.frame_bytes_max,
            port,
            host: HostId::new("simulated", spec.host as u64),
            session_half: rng.bytes(),
            // Who accepts nobody states that.
            unix_name: if spec.unix && port != 0 { spec.unix_name() } else { Vec::new() },
        }
    }

    /// The name of a node's next life.
    pub(super) fn name_for(&self, rng: &mut Rng, node: usize) -> FirstName {
        let spec = &self.specs[node];
        if self.weather != Weather::Mixed {
            return FirstName::Own(spec.name.clone());
        }
        match rng.below(10) {
            0 | 1 if !spec.is_otp() => FirstName::Given,
            0..=3 => FirstName::Own(spec.other_name.clone()),
            _ => FirstName::Own(spec.name.clone()),
        }
    }
}

impl Spec {
    /// One scheduler's order of things, as far as others see it, and nothing but plain links.
    fn be_otp(&mut self, style: OtpStyle) {
        self.kind = Kind::Otp(style);
        self.shards = 1;
        self.unix = false;
    }

    pub(super) fn is_otp(&self) -> bool {
        matches!(self.kind, Kind::Otp(_))
    }

    pub(super) fn unix_name(&self) -> Vec<u8> {
        format!("krarup/{}", self.name.as_str()).into_bytes()
    }

    /// The processes of a shard, the same in every life.
    pub(super) fn process(&self, shard: usize, slot: usize) -> ProcessNumber {
        ProcessNumber { id: (slot as u32) << 8 | shard as u32, serial: 1 + slot as u32 }
    }

    /// The name that a process is registered under.
    pub(super) fn registered(&self, number: ProcessNumber) -> Atom {
        Atom::new(&format!("p{}", number.id)).expect("a short name")
    }

    pub(super) fn by_name(&self, name: &Atom) -> ProcessNumber {
        let id: u32 = name.as_str()[1..].parse().expect("a registered name");
        ProcessNumber { id, serial: 1 + (id >> 8) }
    }
}

pub(super) fn shard_of(number: ProcessNumber) -> usize {
    (number.id & 0xff) as usize
}

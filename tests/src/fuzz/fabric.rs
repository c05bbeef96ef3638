//! What two Krarup nodes say before a lane's first frame, and the session that sees to its lanes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use krarup_transport::fabric::{
    AcceptStep, Agreed, Ask, Broken, Credentials, DialFailure, Epoch, FabricError, Hello, HostId,
    JOIN_TIMEOUT, JoinAcceptor, JoinConfig, JoinId, JoinInitiator, JoinStep, LANE_JOINS_MAX,
    LaneId, Probed, Refusal, Role, Session, SessionAction, SessionId, SettleStep, SettleTimeouts,
    Settled, Settling, agree, is_join,
};
use krarup_transport::handshake::{Cookie, Flags, NodeName};
use krarup_transport::term::Creation;

/// One byte that chooses the machine and its settings, then what the peer sends; a session gets a
/// script of reports instead.
pub fn run(input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Initiator } else { Role::Acceptor };
    let settings = choice >> 3;
    match choice >> 1 & 3 {
        0 => same_in_pieces(rest, 4, |pieces| settle(settings, role, pieces)),
        1 if role == Role::Initiator => same_in_pieces(rest, 2, |pieces| join(settings, pieces)),
        1 => same_in_pieces(rest, 2, |pieces| accept(settings, pieces)),
        _ => return Script::new(role, settings).run(rest),
    }
    if let Ok(hello) = Hello::decode(rest) {
        let mut again = Vec::new();
        hello.encode(&mut again);
        assert_eq!(Hello::decode(&again[4..]), Ok(hello));
    }
}

/// What a side wrote, and how it ended.
type Outcome = (Vec<u8>, String);

/// Whether the bytes come message by message or one by one must not matter.
fn same_in_pieces(stream: &[u8], width: usize, side: impl Fn(&[&[u8]]) -> Outcome) {
    let mut rest = stream;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length =
            rest.iter().take(width).fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (message, after) = rest.split_at(rest.len().min(width.saturating_add(length)));
        messages.push(message);
        rest = after;
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(side(&messages), side(&bytes));
}

fn ended(output: Vec<u8>, how: &impl Debug) -> Outcome {
    (output, format!("{how:?}"))
}

/// The nodes of the vectors in `transport/tests/golden/fabric.json`.
fn credentials() -> Credentials {
    let node = |name| NodeName::parse(name).expect("a good name");
    Credentials {
        cookie: Cookie::new("gold\u{e9}cookie").expect("a good cookie"),
        initiator: (node("gold@127.0.0.1"), Creation(0x1122_3344)),
        acceptor: (node("b@h\u{f8}st.example"), Creation(0x5566_7788)),
        flags: Flags::from_bits(0x4000_006d_07df_7fbd),
    }
}

fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first + index as u8)
}

fn hello(settings: u8, role: Role) -> Hello {
    let boot_id = "0f7d0c5c-6f0e-4f2b-8f7c-4c9b6e1f2a3d";
    Hello {
        versions: 1..=1 + (settings & 1),
        shards: 1 + u16::from(settings >> 1 & 3) * 3,
        lanes_max: 8,
        asks_checksum: false,
        frame_bytes_max: 65536,
        port: if settings & 8 == 0 { 4370 } else { 0 },
        host: HostId::new(boot_id, 4_026_531_840),
        session_half: counting(if role == Role::Initiator { 0x10 } else { 0xa0 }),
        unix_name: if settings & 16 == 0 { b"krarup/b".to_vec() } else { Vec::new() },
    }
}

/// Every lane gets through at once.
fn settle(settings: u8, role: Role, pieces: &[&[u8]]) -> Outcome {
    let now = Instant::now();
    let mut side = Settling::new(role, hello(settings, role), SettleTimeouts::default(), now);
    let mut output = side.take_output();
    for (index, piece) in pieces.iter().enumerate() {
        let mut step = side.receive(now, piece);
        if let Ok(SettleStep::Agreed(agreement)) = &step {
            for lane in agreement.joins() {
                step = side.joined(now, lane).map(|counts| counts.expect("in time"));
            }
        }
        output.extend(side.take_output());
        let later = || pieces[index + 1..].concat();
        match step {
            Ok(SettleStep::Continue) => {}
            Ok(SettleStep::Settled(mut settled)) => {
                assert!(settled.lanes.contains(LaneId(0)));
                assert!(settled.lanes.iter().all(|lane| lane.0 < settled.agreement.lanes));
                assert!(settled.lane0_on_first_link || settled.agreement.same_host);
                settled.leftover.extend(later());
                return ended(output, &settled);
            }
            Ok(SettleStep::Plain { leftover }) => {
                return ended(output, &[leftover, later()].concat());
            }
            end => return ended(output, &end),
        }
    }
    ended(output, &side.is_over())
}

/// The joins of the vectors, the first of a lane and a resume.
fn join(settings: u8, pieces: &[&[u8]]) -> Outcome {
    let now = Instant::now();
    let session = SessionId::new(counting(0x10), counting(0xa0));
    let (lane, epoch, received) = match settings & 1 {
        0 => (LaneId(2), Epoch(1), 0),
        _ => (LaneId(0), Epoch(0x0102_0304), 0x0102_0304_0506_0708),
    };
    let ask = Ask { version: 1, session, lane, epoch, received };
    let nonce = counting(0x20);
    let config = JoinConfig { credentials: credentials(), ask, nonce, timeout: JOIN_TIMEOUT };
    let mut side = JoinInitiator::new(config, now);
    for piece in pieces {
        match side.receive(now, piece) {
            Ok(JoinStep::Continue) => {}
            end => return ended(side.take_output(), &end),
        }
    }
    ended(side.take_output(), &())
}

fn accept(settings: u8, pieces: &[&[u8]]) -> Outcome {
    let now = Instant::now();
    let mut side = JoinAcceptor::new(counting(0xc0), JOIN_TIMEOUT, now);
    let received = if settings & 1 == 0 { 0 } else { 0xffff_ffff_ffff_fffe };
    assert_eq!(is_join(&pieces.concat()).is_some(), pieces.concat().len() > 2);
    for (index, piece) in pieces.iter().enumerate() {
        match side.receive(now, piece) {
            Ok(AcceptStep::Continue) => {}
            Ok(AcceptStep::Ask(ask)) if settings & 2 == 0 => {
                assert_eq!(ask.version, 1);
                side.admit(now, credentials(), received).expect("it asked");
            }
            Ok(AcceptStep::Ask(_)) => side.refuse(Refusal::TryAgain),
            Ok(AcceptStep::Joined { leftover }) => {
                let leftover = [leftover, pieces[index + 1..].concat()].concat();
                return ended(side.take_output(), &leftover);
            }
            Err(error) => return ended(side.take_output(), &error),
        }
    }
    ended(side.take_output(), &())
}

/// The tick time of every script.
const TICK_TIME: Duration = Duration::from_secs(60);

/// Longest time a lane of a script may be down: no break of one has been silent for long.
const DOWN_TIME_MAX: Duration = Duration::from_secs(20);

/// A session with the shards and the network it believes in.
struct Script {
    session: Session,
    role: Role,
    start: Instant,
    now: Instant,
    lanes: Vec<Shard>,
    joins: BTreeMap<JoinId, Joining>,
    next_join: u64,
    probes: u32,
    over: bool,
}

/// One lane as its shard knows it.
struct Shard {
    /// The epoch of its socket.
    socket: Option<Epoch>,
    /// The last it had.
    epoch: Epoch,
    received: u64,
    told_to_detach: bool,
    dial: Option<Epoch>,
    epoch_dialled: Epoch,
    broken_at: Option<Instant>,
}

struct Joining {
    lane: usize,
    epoch: Epoch,
    peer_received: u64,
    admitted: bool,
}

impl Script {
    fn new(role: Role, settings: u8) -> Script {
        let now = Instant::now();
        let other = match role {
            Role::Initiator => Role::Acceptor,
            Role::Acceptor => Role::Initiator,
        };
        let settings = settings & !1;
        let Agreed::Session(agreement) =
            agree(role, &hello(settings, role), &hello(settings, other))
        else {
            unreachable!("both speak version 1");
        };
        let lanes = (0..agreement.lanes).map(LaneId).collect();
        let lane0_on_first_link = !agreement.same_host;
        let settled =
            Settled { agreement: *agreement, lanes, lane0_on_first_link, leftover: vec![] };
        let shard = |lane: LaneId| {
            let epoch = Epoch(u32::from(lane.0 > 0 || !lane0_on_first_link));
            Shard {
                socket: Some(epoch),
                epoch,
                received: 0,
                told_to_detach: false,
                dial: None,
                epoch_dialled: epoch,
                broken_at: None,
            }
        };
        Script {
            session: Session::new(&settled, TICK_TIME, now),
            role,
            start: now,
            now,
            lanes: lanes.iter().map(shard).collect(),
            joins: BTreeMap::new(),
            next_join: 0,
            probes: 0,
            over: false,
        }
    }

    /// Two bytes for each report: what, and about which lane with what numbers.
    fn run(mut self, input: &[u8]) {
        for step in input.chunks_exact(2).take(512) {
            let [what, about] = [step[0], step[1]];
            self.report(what, about);
            self.obey();
            self.check();
        }
        // Whatever it waits for, it does not wait for ever.
        let waits = self.lanes.iter().any(|lane| lane.socket.is_none() || lane.told_to_detach);
        self.now += DOWN_TIME_MAX;
        self.session.expire(self.now);
        self.obey();
        assert!(self.over || !waits, "a lane is down and nothing comes of it");
    }

    fn report(&mut self, what: u8, about: u8) {
        let index = usize::from(about & 7) % self.lanes.len();
        let number = u64::from(about >> 3);
        let lane = LaneId(index as u8);
        let shard = &mut self.lanes[index];
        match what % 12 {
            0 | 1 => {
                if let Some(epoch) = shard.socket.take() {
                    shard.received += number;
                    (shard.broken_at, shard.told_to_detach) = (Some(self.now), false);
                    let report = Broken {
                        received: shard.received,
                        unacknowledged: what & 16 != 0,
                        last_byte: self.now - Duration::from_secs(number % 4),
                        brought_bytes: what & 32 != 0,
                    };
                    self.session.broken(self.now, lane, epoch, report);
                }
            }
            2 => {
                if let Some(epoch) = shard.dial {
                    self.session.joined(self.now, lane, epoch, number);
                }
            }
            3 => {
                if let Some(epoch) = shard.dial.take() {
                    let failure = match number {
                        0 => DialFailure::ConnectionRefused,
                        1..=6 => {
                            let refusal = Refusal::from_code(number as u8).expect("a code");
                            DialFailure::Join(FabricError::Refused(refusal))
                        }
                        7..=15 => DialFailure::Join(FabricError::NotAuthentic),
                        _ => DialFailure::Unreachable,
                    };
                    self.session.dial_failed(self.now, lane, epoch, &failure);
                }
            }
            4 | 5 => {
                let epoch = Epoch(shard.epoch.0.saturating_add(number as u32 % 4));
                let join = JoinId(self.next_join);
                self.next_join += 1;
                let joining =
                    Joining { lane: index, epoch, peer_received: number, admitted: false };
                self.joins.insert(join, joining);
                let session = self.session.id();
                let ask = Ask { version: 1, session, lane, epoch, received: number };
                self.session.asked(self.now, join, &ask);
            }
            6 => {
                let admitted = self.joins.iter().filter(|(_, joining)| joining.admitted);
                let nth = admitted.map(|(join, _)| *join).nth(usize::from(about & 3));
                if let Some(join) = nth {
                    self.session.confirmed(self.now, join);
                }
            }
            7 => {
                let nth = self.joins.keys().copied().nth(usize::from(about & 3));
                if let Some(join) = nth {
                    self.joins.remove(&join);
                    self.session.join_ended(join);
                }
            }
            8 if self.probes > 0 => {
                self.probes -= 1;
                let found = match number {
                    0 => Probed::ConnectionRefused,
                    1 => Probed::Unreachable,
                    2 => Probed::UnknownSession,
                    _ => Probed::Listening,
                };
                self.session.probed(self.now, found);
            }
            8 | 9 => {
                self.now += Duration::from_millis(number * number * 5);
                self.session.expire(self.now);
            }
            10 => {
                // What was heard of an older connection.
                let report = Broken {
                    received: 0,
                    unacknowledged: true,
                    last_byte: self.start,
                    brought_bytes: false,
                };
                let old = Epoch(shard.epoch.0.wrapping_sub(1));
                self.session.broken(self.now, lane, old, report);
            }
            _ => match about {
                0 => self.session.close("disconnect"),
                1 => self.session.bye("stopped".into()),
                2 => self.session.replaced(),
                3 => self.session.failed(lane, "nonsense".into()),
                _ => self.session.expire(self.now),
            },
        }
    }

    fn obey(&mut self) {
        let was_over = self.over;
        while let Some(action) = self.session.next_action() {
            assert!(!self.over || was_over, "{action:?} after the end");
            self.act(action, was_over);
        }
    }

    fn act(&mut self, action: SessionAction, was_over: bool) {
        match action {
            SessionAction::Dial { lane, epoch, received } => {
                assert_eq!(self.role, Role::Initiator);
                let shard = &mut self.lanes[usize::from(lane.0)];
                assert_eq!((shard.socket, shard.dial), (None, None));
                assert_eq!(received, shard.received);
                assert!(epoch > shard.epoch_dialled, "every dial has an epoch of its own");
                (shard.dial, shard.epoch_dialled) = (Some(epoch), epoch);
            }
            SessionAction::Abort { lane, epoch } => {
                let shard = &mut self.lanes[usize::from(lane.0)];
                assert_eq!(shard.dial, Some(epoch));
                shard.dial = None;
            }
            SessionAction::Attach { lane, epoch, peer_received, join } => {
                let shard = &mut self.lanes[usize::from(lane.0)];
                assert_eq!(shard.socket, None);
                assert!(epoch > shard.epoch);
                match join {
                    None => assert_eq!(shard.dial.take(), Some(epoch)),
                    Some(join) => {
                        let joining = self.joins.remove(&join).expect("a join");
                        assert!(joining.admitted);
                        assert_eq!(joining.lane, usize::from(lane.0));
                        assert_eq!(joining.epoch, epoch);
                        assert_eq!(joining.peer_received, peer_received);
                        let left = self.joins.values().any(|other| other.lane == joining.lane);
                        assert!(!left, "their positions are not true any more");
                    }
                }
                (shard.socket, shard.epoch, shard.broken_at) = (Some(epoch), epoch, None);
            }
            SessionAction::Detach { lane, epoch } => {
                let shard = &mut self.lanes[usize::from(lane.0)];
                assert_eq!(shard.socket, Some(epoch));
                assert!(!shard.told_to_detach);
                (shard.told_to_detach, shard.broken_at) = (true, Some(self.now));
            }
            SessionAction::Admit { join, received } => {
                let joining = self.joins.get_mut(&join).expect("a join");
                let shard = &self.lanes[joining.lane];
                assert_eq!((shard.socket, shard.received), (None, received));
                assert!(!std::mem::replace(&mut joining.admitted, true));
            }
            SessionAction::Refuse { join, .. } | SessionAction::Drop { join } => {
                self.joins.remove(&join).expect("a join");
            }
            SessionAction::Probe => {
                assert_eq!(self.role, Role::Acceptor);
                self.probes += 1;
            }
            SessionAction::Bye { lane, .. } => {
                assert!(self.lanes[usize::from(lane.0)].socket.is_some());
            }
            SessionAction::End(_) => {
                assert!(!was_over && !self.over, "it ends once");
                self.over = true;
                assert!(self.joins.is_empty());
                assert!(self.lanes.iter().all(|shard| shard.dial.is_none()));
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.over, self.session.is_over());
        if self.over {
            assert_eq!(self.session.deadline(), None);
            return;
        }
        for (lane, up) in self.session.lanes() {
            let shard = &self.lanes[usize::from(lane.0)];
            assert_eq!(up, shard.socket.is_some() && !shard.told_to_detach);
            if let Some(broken_at) = shard.broken_at {
                assert!(self.now < broken_at + DOWN_TIME_MAX, "lane {lane} is late");
                let due = self.session.deadline().expect("something is due");
                assert!(due <= broken_at + DOWN_TIME_MAX);
            }
            let joins = self.joins.values().filter(|join| join.lane == usize::from(lane.0));
            assert!(joins.count() <= LANE_JOINS_MAX);
        }
    }
}

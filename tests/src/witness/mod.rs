//! Nodes that watch each other: each tells all others that it lives, from several processes to
//! several processes, and checks what it is told by them and of them. This is the Krarup node;
//! `otp/krarup_witness.erl` is the Erlang one.

mod ledger;
mod report;

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use krarup::epmd::EpmdMode;
use krarup::term::{Atom, Pid, Term};
use krarup::{Builder, Cookie, Encoded, Node, NodeConfig, Process, ProcessResult, Signal};

use self::ledger::{Beat, Ledger};
pub use self::report::Report;

/// Processes that watch, and processes that send, on each node; with so many shards each has one of
/// its own.
pub const WITNESSES: u64 = 2;

/// How a witness runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessConfig {
    /// The node's full name.
    pub name: String,
    /// The tick time; an attempt to connect may take half of it.
    pub net_ticktime: Duration,
    /// Other witnesses.
    pub peers: Vec<String>,
    /// Other nodes, which get beats at their `sink`.
    pub sinks: Vec<String>,
    /// Time between two beats of one sender.
    pub period: Duration,
}

impl WitnessConfig {
    /// The arguments of the program `witness`.
    pub fn to_arguments(&self) -> [String; 5] {
        let seconds = self.net_ticktime.as_secs().to_string();
        let millis = self.period.as_millis().to_string();
        [self.name.clone(), seconds, self.peers.join(","), self.sinks.join(","), millis]
    }

    /// Reads them back.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next();
        let (name, seconds) = (next()?, next()?.parse().ok()?);
        let names = |text: String| {
            text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let (peers, sinks) = (names(next()?), names(next()?));
        let period = Duration::from_millis(next()?.parse().ok()?);
        Some(Self { name, net_ticktime: Duration::from_secs(seconds), peers, sinks, period })
    }
}

/// Runs a witness until its standard input ends: it says `ready NAME`, and obeys one line after the
/// other:
///
/// | line | what it does |
/// |---|---|
/// | `report N` | says `report N` and its [`Report`] |
/// | `bulk NODE BYTES SECONDS` | sends messages of this size to a witness, as fast as they go |
/// | `disconnect NODE` | does that, and says `disconnected NODE` |
/// | `lanes N` | says `lanes N`, how many lanes there are, are connected, and their resumes |
///
/// # Errors
///
/// When the node does not start, or standard input fails.
pub fn run_witness(config: &WitnessConfig) -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let witness = Witness::start(config)?;
    println!("ready {}", config.name);
    for line in std::io::stdin().lock().lines() {
        witness.obey(&line?);
    }
    witness.node.stop().wait();
    Ok(())
}

/// A running witness.
struct Witness {
    node: Node,
    ledgers: Vec<Shared>,
}

type Shared = Arc<Mutex<Ledger>>;

fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Witness {
    fn start(config: &WitnessConfig) -> Result<Self, Box<dyn std::error::Error>> {
        let mut node_config =
            NodeConfig { name: Some(config.name.clone()), ..NodeConfig::default() };
        node_config.cookie = Some(Cookie::new("c")?);
        node_config.epmd = EpmdMode::External;
        if let Some(port) = std::env::var("ERL_EPMD_PORT").ok().and_then(|port| port.parse().ok()) {
            node_config.epmd_port = port;
        }
        node_config.shards = usize::try_from(WITNESSES)?;
        node_config.net_ticktime = config.net_ticktime;
        node_config.setup_time = config.net_ticktime / 2;
        node_config.spin = Some(Duration::ZERO);
        node_config.services = true;
        let node = Builder::from_config(node_config).start()?;
        let life = micros_now();
        let mut ledgers = Vec::new();
        for index in 0..WITNESSES {
            let ledger = Shared::default();
            ledgers.push(Arc::clone(&ledger));
            let (config, name) = (config.clone(), format!("witness_{index}"));
            let shard = usize::try_from(index)?;
            let run = move |me| watch(me, ledger, life, index, config);
            node.spawn_on(shard, Some(&name), run).wait()?;
        }
        Ok(Self { node, ledgers })
    }

    fn obey(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["report", number] => println!("report {number} {}", self.report()),
            ["lanes", number] => {
                let shards = self.node.stats().wait();
                let lanes = shards.iter().flat_map(|shard| &shard.links).filter_map(|l| l.lane);
                let (mut all, mut connected, mut resumes) = (0, 0, 0);
                for lane in lanes {
                    all += 1;
                    connected += u64::from(lane.is_connected);
                    resumes += lane.resumes;
                }
                println!("lanes {number} {all} {connected} {resumes}");
            }
            ["disconnect", node] => {
                self.node.disconnect(node).wait();
                println!("disconnected {node}");
            }
            ["bulk", node, bytes, seconds] => {
                let (Ok(bytes), Ok(seconds)) = (bytes.parse(), seconds.parse()) else { return };
                let (node, until) = ((*node).to_owned(), Duration::from_secs(seconds));
                let run = move |me| send_bulk(me, node, bytes, until);
                let _ = self.node.spawn_on(0, None, run).wait();
            }
            _ => println!("not understood: {line}"),
        }
    }

    fn report(&self) -> Report {
        let nodes = self.node.nodes().wait();
        let mut report = Report {
            nodes: nodes.iter().map(|node| node.name.as_str().to_owned()).collect(),
            ..Report::default()
        };
        report.nodes.sort_unstable();
        for ledger in &self.ledgers {
            lock(ledger).add_to(&mut report, WITNESSES);
        }
        report
    }
}

/// `{beat, Node, Life, Sender, Number, SentMicros, Pid}`.
type BeatMessage = (Atom, Atom, u64, u64, u64, u64, Pid);

/// One process that watches, and its sender on the same shard.
async fn watch(
    mut me: Process,
    ledger: Shared,
    life: u64,
    index: u64,
    config: WitnessConfig,
) -> ProcessResult {
    me.monitor_nodes(true);
    let early = me.node().nodes().await;
    lock(&ledger).early(early.iter().map(|info| info.name.as_str().to_owned()));
    let pid = me.pid();
    let shard = usize::try_from(index)?;
    let period = config.period;
    for (peer, is_witness) in config
        .peers
        .into_iter()
        .map(|p| (p, true))
        .chain(config.sinks.into_iter().map(|p| (p, false)))
    {
        let pid = pid.clone();
        let send = move |me| send_beats(me, peer, is_witness, (life, index, pid), period);
        me.node().spawn_on(shard, None, send).await?;
    }
    // The pids that each node's witness has had, in all of its lives.
    let mut pids: HashMap<Atom, HashMap<u64, Pid>> = HashMap::new();
    loop {
        match me.recv().await? {
            Signal::NodeUp(up) => {
                let in_nodes = is_in_nodes(&me, &up.node).await;
                lock(&ledger).up(up.node.as_str(), in_nodes);
            }
            Signal::NodeDown(down) => {
                let in_nodes = is_in_nodes(&me, &down.node).await;
                lock(&ledger).down(down.node.as_str(), down.reason.atom().as_str(), in_nodes);
            }
            signal => {
                if let Ok(beat) = signal.message::<BeatMessage>() {
                    let (_, node, life, sender, number, sent, pid) = beat;
                    let late_ms = micros_now().saturating_sub(sent) / 1000;
                    let name = node.as_str().to_owned();
                    lock(&ledger).beat(&Beat { node: name, life, sender, number, late_ms });
                    // What is sent to a former life must not arrive.
                    let pids = pids.entry(node).or_default();
                    pids.insert(life, pid);
                    for (life, pid) in pids {
                        let _ = me.try_send(&*pid, &(Atom::from_static("answer"), *life));
                    }
                } else if let Ok((_, to)) = signal.message::<(Atom, u64)>() {
                    lock(&ledger).answer(to, life);
                } else if let Signal::Message(message) = &signal
                    && let Ok(Term::Binary(bytes)) = message.term()
                {
                    lock(&ledger).bulk(bytes.len());
                } else {
                    lock(&ledger).complain(format!("{signal:?}"));
                }
            }
        }
    }
}

async fn is_in_nodes(me: &Process, node: &Atom) -> bool {
    me.node().nodes().await.iter().any(|info| info.name == *node)
}

/// Tells one other node that this one lives, again and again.
async fn send_beats(
    mut me: Process,
    peer: String,
    is_witness: bool,
    (life, sender, pid): (u64, u64, Pid),
    period: Duration,
) -> ProcessResult {
    let Some(node) = me.node().name() else { return Ok(()) };
    let names: Vec<String> = if is_witness {
        (0..WITNESSES).map(|index| format!("witness_{index}")).collect()
    } else {
        vec!["sink".to_owned()]
    };
    for number in 0.. {
        for name in &names {
            let sent = micros_now();
            let beat: BeatMessage =
                (Atom::from_static("beat"), node.clone(), life, sender, number, sent, pid.clone());
            // As in Erlang, nobody is told of one that does not arrive.
            let _ = me.send((name.as_str(), peer.as_str()), &beat).await;
        }
        me.recv_timeout(period).await?;
    }
    Ok(())
}

async fn send_bulk(me: Process, peer: String, bytes: usize, within: Duration) -> ProcessResult {
    let message = Encoded::binary(vec![7; bytes].into());
    let start = Instant::now();
    while start.elapsed() < within {
        me.send_encoded(("witness_0", peer.as_str()), &message).await?;
    }
    Ok(())
}

fn micros_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

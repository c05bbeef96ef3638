//! Two worlds that are alike but for one node, which is of OTP in one and of Krarup in the other:
//! what is done to it is drawn from a seed, and its answers and what it sees are compared step by
//! step.
//!
//! In each world a node `n` is tried. `d` calls functions there and never parts from it; `p` and `h`
//! (hidden) are peers that connect, disconnect, cease to be nodes and come back. Puppets on `n`
//! subscribe to news of nodes and keep what they are told. Both worlds have the same names, each
//! with an epmd of its own.

mod functions;
mod plan;
mod world;

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::Release;

pub use functions::Call;
pub use plan::Step;

use plan::Plan;
use world::{Kind, World};

/// The node that is tried.
const TRIED: &str = "n@127.0.0.1";
/// The nodes that come and go.
const PEERS: [&str; 2] = ["p@127.0.0.1", "h@127.0.0.1"];
/// Puppets on the node that is tried.
const PUPPETS: usize = 2;
/// How long both worlds may take to look alike.
const SETTLES: Duration = Duration::from_secs(15);
/// Steps that a failure shows.
const STEPS_SHOWN: usize = 40;

/// An answer that differs from OTP's, and why that is meant to be.
pub struct Exception {
    /// Whether it is this difference: the call, OTP's answer, ours.
    pub is: fn(&Call, &str, &str) -> bool,
    /// Where it is documented.
    pub why: &'static str,
}

/// Both worlds.
pub struct Worlds([World; 2]);

impl Worlds {
    /// Starts all that lasts from seed to seed; `rust_node` is the path of that program.
    ///
    /// # Panics
    ///
    /// When a node does not start.
    pub fn new(release: Release, rust_node: &str) -> Self {
        let start = |kind| World::new(release, kind, rust_node);
        Self(thread::scope(|scope| {
            let model = scope.spawn(|| start(Kind::Otp));
            let ours = start(Kind::Krarup);
            [model.join().expect("OTP's world starts"), ours]
        }))
    }

    /// Tries as many steps of a seed.
    ///
    /// # Errors
    ///
    /// How the worlds differ, with the steps before that.
    ///
    /// # Panics
    ///
    /// When a node does not answer.
    pub fn run(&mut self, seed: u64, steps: usize, except: &[Exception]) -> Result<(), String> {
        self.both(World::begin);
        let mut plan = Plan::new(seed);
        let mut story = Vec::new();
        let mut differences = String::new();
        for number in 0..steps {
            let step = plan.step();
            story.push(format!("{number}: {step}"));
            let [model, ours] = self.both(|world| world.takes(&step));
            let is_exception = matches!(&step, Step::Call(call)
                if except.iter().any(|except| (except.is)(call, &model, &ours)));
            if model != ours && !is_exception {
                let _ = writeln!(differences, "{number}: {step}\n  OTP  {model}\n  ours {ours}");
            }
            if let Err(looks) = self.settle() {
                let _ = writeln!(differences, "after {number}: {step}\n{looks}");
                break;
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        let before = story[story.len().saturating_sub(STEPS_SHOWN)..].join("\n");
        Err(format!("{before}\nWhat differs:\n{differences}"))
    }

    /// Waits until nothing is under way and both worlds look alike.
    fn settle(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let [model, ours] = self.both(World::look);
            if model == ours && model.is_settled() && ours.is_settled() {
                self.both(World::accept);
                return Ok(());
            }
            if start.elapsed() > SETTLES {
                return Err(format!("  OTP  {model}\n  ours {ours}"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn both<T: Send>(&mut self, act: impl Fn(&mut World) -> T + Sync) -> [T; 2] {
        let [model, ours] = &mut self.0;
        thread::scope(|scope| {
            let model = scope.spawn(|| act(model));
            let ours = act(ours);
            [model.join().expect("OTP's world goes on"), ours]
        })
    }
}

//! Elixir nodes: Elixir's own ways to use distribution, on the OTP that the machine's Elixir runs on.

use std::process::Command;
use std::time::Duration;

use crate::evaluator::{Evaluator, base64};
use crate::{Process, missing};

/// Evaluates lines, as `krarup_peer.erl` does in an Erlang node.
const PEER_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/otp/krarup_peer.exs");
/// How long an Elixir node may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A running Elixir node, which ends with this value.
pub struct ElixirNode {
    evaluator: Evaluator,
}

impl ElixirNode {
    /// Whether `tests/run` could not install Elixir.
    pub fn is_missing() -> bool {
        missing("elixir")
    }

    pub(crate) fn start(name: &str, epmd_port: u16) -> Self {
        let name = format!("{name}@127.0.0.1");
        let mut command = Command::new("elixir");
        command
            .env("ERL_EPMD_PORT", epmd_port.to_string())
            .env("ERL_CRASH_DUMP", "/dev/null")
            .env("HOME", "/tmp")
            .args(["--name", &name, "--cookie", "c"])
            .args(["--erl", "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"])
            .args(["--erl", "+sbwt none +sbwtdcpu none +sbwtdio none"])
            .arg(PEER_SCRIPT);
        let process = Process::start(&format!("Elixir node {name}"), &mut command);
        let mut evaluator = Evaluator::new(process, name, base64);
        let reported = evaluator.eval_within("Atom.to_string(node())", START);
        assert_eq!(reported, format!("{:?}", evaluator.name()), "it came up under another name");
        Self { evaluator }
    }

    /// The full node name.
    pub fn name(&self) -> &str {
        self.evaluator.name()
    }

    /// Evaluates Elixir expressions and returns the last value as `inspect` prints it. Variables
    /// and the mailbox last from one call to the next.
    ///
    /// # Panics
    ///
    /// When they fail, or take longer than half a minute.
    pub fn eval(&mut self, expressions: &str) -> String {
        self.evaluator.eval(expressions)
    }

    /// Evaluates again and again until the value is as wanted.
    ///
    /// # Panics
    ///
    /// When it is not in time; the last value is in the message.
    pub fn eval_until(&mut self, expressions: &str, wanted: &str, within: Duration) {
        self.evaluator.eval_until(expressions, wanted, within);
    }
}

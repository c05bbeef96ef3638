//! Two hosts on one machine, joined by a cable that can be cut.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace of the test's own: a host with its own loopback and addresses. It is
/// removed when its last owner goes.
#[derive(Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the test's own verdict matters more.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

impl Namespace {
    pub(crate) fn new(name: String) -> Self {
        ip(&["netns", "add", &name]);
        let namespace = Self { inner: Arc::new(Inner { name }) };
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The ids of all processes that run in it.
    pub fn processes(&self) -> Vec<String> {
        let output = Command::new("ip").args(["netns", "pids", self.name()]).output();
        let pids = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        pids.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// A command that will run in this namespace.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.inner.name]).arg(program);
        command
    }

    /// Runs a command in this namespace to its end.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        succeed(self.command(Path::new(program)).args(arguments));
    }
}

/// Two namespaces joined by a virtual Ethernet cable.
pub struct Cable {
    left: Namespace,
    right: Namespace,
    network: u8,
}

impl Cable {
    /// Lays the cable. Needs root.
    ///
    /// # Panics
    ///
    /// When the machine does not allow it.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let stem = format!("krarup-{}-{number}", std::process::id());
        let left = Namespace::new(format!("{stem}-l"));
        let right = Namespace::new(format!("{stem}-r"));
        let (left_name, right_name) = (&left.inner.name, &right.inner.name);
        // Both ends are born inside, so that the machine itself never sees them.
        ip(&[
            "link", "add", "cable", "netns", left_name, "type", "veth", "peer", "name", "cable",
            "netns", right_name,
        ]);
        let network = u8::try_from(number % 250).expect("below 250");
        let cable = Self { left, right, network };
        for (namespace, address) in
            [(&cable.left, cable.left_address()), (&cable.right, cable.right_address())]
        {
            let address = format!("{address}/24");
            namespace.run("ip", &["address", "add", &address, "dev", "cable"]);
            namespace.run("ip", &["link", "set", "cable", "up"]);
            namespace.run("nft", &["add", "table", "ip", "krarup"]);
        }
        cable
    }

    /// The namespace at one end.
    pub fn left(&self) -> &Namespace {
        &self.left
    }

    /// The namespace at the other end.
    pub fn right(&self) -> &Namespace {
        &self.right
    }

    /// The address of the left end.
    pub fn left_address(&self) -> String {
        format!("10.213.{}.1", self.network)
    }

    /// The address of the right end.
    pub fn right_address(&self) -> String {
        format!("10.213.{}.2", self.network)
    }

    /// Cuts the cable: from now on every packet is dropped, and nobody is told.
    ///
    /// # Panics
    ///
    /// When the rule cannot be set.
    pub fn cut(&self) {
        for hook in ["input", "output"] {
            let chain = format!("{{ type filter hook {hook} priority 0; policy drop; }}");
            self.left.run("nft", &["add", "chain", "ip", "krarup", hook, &chain]);
            self.left.run(
                "nft",
                &["add", "rule", "ip", "krarup", hook, "iif", "lo", "accept"]
                    .map(|word| if word == "iif" && hook == "output" { "oif" } else { word }),
            );
        }
    }

    /// Joins the cable again.
    ///
    /// # Panics
    ///
    /// When it was not cut.
    pub fn mend(&self) {
        for hook in ["input", "output"] {
            self.left.run("nft", &["delete", "chain", "ip", "krarup", hook]);
        }
    }
}

impl Default for Cable {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn ip(arguments: &[&str]) {
    succeed(Command::new("ip").args(arguments));
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {complaint}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::missing;

    fn reaches(cable: &Cable) -> bool {
        // Bash connects without any tool that the machine may lack.
        let connect = format!("exec 3<>/dev/tcp/{}/9", cable.right_address());
        let mut command = cable.left().command(Path::new("timeout"));
        let output = command.args(["1", "bash", "-c", &connect]).output().expect("ip runs");
        // Nobody listens there: a refusal came over the cable, silence did not.
        String::from_utf8_lossy(&output.stderr).contains("refused")
    }

    #[test]
    fn a_cut_cable_carries_nothing_until_it_is_mended() {
        if missing("netns") {
            return;
        }
        let cable = Cable::new();
        assert!(reaches(&cable));
        cable.cut();
        assert!(!reaches(&cable));
        cable.mend();
        assert!(reaches(&cable));
    }
}

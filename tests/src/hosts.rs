//! Several hosts on one machine, joined by a switch: network namespaces that can be partitioned,
//! lose packets, have slow cables, and be switched off.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cable::{Namespace, ip};
use crate::{
    KrarupNode, Lab, OtpNode, OtpNodeBuilder, Process, Release, Report, WitnessConfig, until,
};

/// How long a witness may take until it is ready, on a busy machine and built without optimisation.
const START: Duration = Duration::from_secs(30);
/// How long a node may take to say what it has seen.
const ANSWER: Duration = Duration::from_secs(20);
const WITNESS: &str = include_str!("../otp/krarup_witness.erl");
/// Bytes that a slow cable lets pass at once.
const BURST_BYTES: u32 = 32 << 10;

/// Hosts that reach each other through a switch, each with an address and an epmd port of its own.
/// Everything that runs on them ends with this value, and so do they.
pub struct Hosts {
    lab: Lab,
    hosts: Vec<Host>,
    /// Where the cables of all hosts end.
    _switch: Namespace,
}

struct Host {
    namespace: Namespace,
    epmd: Option<Process>,
}

impl Hosts {
    /// Builds so many hosts. Needs root.
    ///
    /// # Panics
    ///
    /// When the machine does not allow it.
    pub fn new(count: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let stem = format!("krarup-{}-hosts{number}", std::process::id());
        let switch = Namespace::new(format!("{stem}-switch"));
        switch.run("ip", &["link", "add", "switch", "type", "bridge"]);
        switch.run("ip", &["link", "set", "switch", "up"]);
        let hosts = (0..count).map(|host| Host::new(&stem, host, &switch)).collect();
        Self { lab: Lab::without_epmd(), hosts, _switch: switch }
    }

    /// The address of a host.
    pub fn address(host: usize) -> String {
        format!("10.214.0.{}", host + 1)
    }

    /// The namespace that a host is.
    pub fn namespace(&self, host: usize) -> &Namespace {
        &self.hosts[host].namespace
    }

    /// The ground they share: the epmd port, which is the same on all of them, and a home folder.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Starts the epmd of a host.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_epmd(&mut self, host: usize, release: Release) {
        let epmd = self.lab.start_epmd_in(&self.hosts[host].namespace, release);
        self.hosts[host].epmd = Some(epmd);
    }

    /// Drops what one host sends to another from now on, with this probability in percent. Neither
    /// is told.
    ///
    /// # Panics
    ///
    /// When the rule cannot be set.
    pub fn lose(&self, from: usize, to: usize, percent: u8) {
        let (source, percent) = (Self::address(from), percent.to_string());
        let mut rule = vec!["add", "rule", "ip", "krarup", "input", "ip", "saddr", &source];
        if percent != "100" {
            rule.extend(["numgen", "random", "mod", "100", "<", &percent]);
        }
        rule.push("drop");
        self.namespace(to).run("nft", &rule);
    }

    /// Drops everything between a host and all others, in both directions.
    ///
    /// # Panics
    ///
    /// When the rules cannot be set.
    pub fn isolate(&self, host: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            self.lose(host, other, 100);
            self.lose(other, host, 100);
        }
    }

    /// Lets all packets through again.
    ///
    /// # Panics
    ///
    /// When the rules cannot be removed.
    pub fn heal(&self) {
        for host in &self.hosts {
            host.namespace.run("nft", &["flush", "chain", "ip", "krarup", "input"]);
        }
    }

    /// Limits what a host sends to so many kilobits a second.
    ///
    /// # Panics
    ///
    /// When the limit cannot be set.
    pub fn slow_down(&self, host: usize, kilobits: u32) {
        let (rate, burst) = (format!("{kilobits}kbit"), BURST_BYTES.to_string());
        let limit = ["burst", &burst, "latency", "400ms"];
        let mut arguments = vec!["qdisc", "replace", "dev", "cable", "root", "tbf", "rate", &rate];
        arguments.extend(limit);
        self.namespace(host).run("tc", &arguments);
    }

    /// Takes that limit away.
    ///
    /// # Panics
    ///
    /// When there was none.
    pub fn speed_up(&self, host: usize) {
        self.namespace(host).run("tc", &["qdisc", "delete", "dev", "cable", "root"]);
    }

    /// Switches a host off: all that runs there is killed, and nobody hears of it. Nothing comes
    /// from it or reaches it until [`Hosts::heal`].
    ///
    /// # Panics
    ///
    /// When something outlives that.
    pub fn power_off(&mut self, host: usize) {
        self.isolate(host);
        self.kill_all(host);
        // What the kernel would still send for those that were killed.
        self.namespace(host).run("ss", &["--kill", "--all", "--tcp"]);
    }

    /// Kills all that runs on a host, as `kill -9` does; the kernel closes their connections.
    ///
    /// # Panics
    ///
    /// When something outlives that.
    pub fn kill_all(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        for pid in host.namespace.processes() {
            // It may have ended with another one.
            let _ = Command::new("kill")
                .args(["-9", &pid])
                .stderr(std::process::Stdio::null())
                .status();
        }
        if let Some(mut epmd) = host.epmd.take() {
            epmd.kill();
        }
        until("everything on the host has ended", ANSWER, || {
            // Those whose parents are the test have to be collected there; they run no more.
            let runs = |pid: &String| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.is_ok_and(|stat| !stat.contains(") Z "))
            };
            (!host.namespace.processes().iter().any(runs)).then_some(())
        });
    }

    /// Starts a Krarup node that watches others; `program` is the path of `witness`, and `name`
    /// the part before the `@`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn krarup_witness(
        &self,
        program: &str,
        host: usize,
        name: &str,
        cluster: &Cluster,
    ) -> KrarupWitness {
        let name = format!("{name}@{}", Self::address(host));
        let command = self.namespace(host).command(Path::new(program));
        cluster.krarup_witness(&self.lab, command, name)
    }

    /// Starts an Erlang node that watches others.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn otp_witness(
        &self,
        release: Release,
        host: usize,
        name: &str,
        cluster: &Cluster,
    ) -> OtpNode {
        let builder = self.lab.otp(release, name).host(&Self::address(host));
        cluster.otp_witness(builder.namespace(self.namespace(host)))
    }

    /// Starts a `krarup node` that watches nobody and is sent beats.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn krarup_node(&self, host: usize, name: &str, cluster: &Cluster) -> KrarupNode {
        let (ticktime, setup) =
            (cluster.net_ticktime.to_string(), (cluster.net_ticktime / 2).to_string());
        let builder = self.lab.krarup(name).host(&Self::address(host));
        builder
            .namespace(self.namespace(host))
            .args(["--epmd", "external", "--shards", "2"])
            .args(["--net-ticktime", &ticktime, "--net-setuptime", &setup])
            .start()
    }
}

impl Host {
    fn new(stem: &str, host: usize, switch: &Namespace) -> Self {
        let namespace = Namespace::new(format!("{stem}-{host}"));
        let port = format!("port{host}");
        // Both ends are born inside, so that the machine itself never sees them.
        ip(&[
            "link",
            "add",
            "cable",
            "netns",
            namespace.name(),
            "type",
            "veth",
            "peer",
            "name",
            &port,
            "netns",
            switch.name(),
        ]);
        switch.run("ip", &["link", "set", &port, "master", "switch", "up"]);
        let address = format!("{}/24", Hosts::address(host));
        namespace.run("ip", &["address", "add", &address, "dev", "cable"]);
        namespace.run("ip", &["link", "set", "cable", "up"]);
        namespace.run("nft", &["add", "table", "ip", "krarup"]);
        let chain = "{ type filter hook input priority 0; }";
        namespace.run("nft", &["add", "chain", "ip", "krarup", "input", chain]);
        Self { namespace, epmd: None }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A namespace lives as long as anything runs in it.
        for pid in self.namespace.processes() {
            let _ = Command::new("kill")
                .args(["-9", &pid])
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
}

/// The nodes that watch each other, and how.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// In seconds.
    pub net_ticktime: u64,
    /// Full names of those that watch.
    pub witnesses: Vec<String>,
    /// Full names of those that are sent beats and watch nobody.
    pub sinks: Vec<String>,
    /// Time between two beats of one sender.
    pub period: Duration,
}

impl Cluster {
    /// Starts a Krarup node that watches others, by a command that runs the program `witness`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn krarup_witness(&self, lab: &Lab, mut command: Command, name: String) -> KrarupWitness {
        let config = WitnessConfig {
            peers: self.others(&name),
            name,
            net_ticktime: Duration::from_secs(self.net_ticktime),
            sinks: self.sinks.clone(),
            period: self.period,
        };
        command.args(config.to_arguments()).env("ERL_EPMD_PORT", lab.epmd_port().to_string());
        let process = Process::start(&format!("witness {}", config.name), &mut command);
        process.wait_line("ready ", START);
        KrarupWitness { name: config.name, process, asked: 0 }
    }

    /// Starts an Erlang node that watches others.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn otp_witness(&self, builder: OtpNodeBuilder) -> OtpNode {
        let (ticktime, setup) =
            (self.net_ticktime.to_string(), (self.net_ticktime / 2).to_string());
        let mut node = builder
            .args(["-kernel", "net_ticktime", &ticktime, "-kernel", "net_setuptime", &setup])
            // Global would disconnect nodes that others have lost.
            .args(["-kernel", "connect_all", "false"])
            .args(["-kernel", "prevent_overlapping_partitions", "false"])
            .module(WITNESS)
            .start();
        let atoms = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            quoted.join(",")
        };
        let (peers, sinks) = (atoms(&self.others(node.name())), atoms(&self.sinks));
        let period = self.period.as_millis();
        node.eval(&format!("krarup_witness:start([{peers}], [{sinks}], {period})."));
        node
    }

    fn others(&self, name: &str) -> Vec<String> {
        self.witnesses.iter().filter(|other| *other != name).cloned().collect()
    }
}

/// A node that says what it has seen of others.
pub trait Watches {
    /// Its full name.
    fn node_name(&self) -> &str;

    /// What it has seen so far.
    fn report(&mut self) -> Report;

    /// Has it send messages of this size to another witness for so many seconds, as fast as they
    /// go.
    fn send_bulk(&mut self, to: &str, bytes: usize, seconds: u64);
}

/// A Krarup node that watches others, in a process of its own.
pub struct KrarupWitness {
    name: String,
    process: Process,
    asked: u64,
}

impl KrarupWitness {
    /// The process, for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// How many lanes it has to other nodes, how many are connected, and how often they were
    /// resumed.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn lanes(&mut self) -> [u64; 3] {
        let answer = self.ask("lanes");
        let numbers: Vec<u64> = answer.split(' ').filter_map(|word| word.parse().ok()).collect();
        numbers.try_into().expect("three numbers")
    }

    /// Disconnects it from another node.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn disconnect(&mut self, node: &str) {
        let start = self.process.lines_printed();
        self.process.write_line(&format!("disconnect {node}"));
        let done = format!("disconnected {node}");
        self.process.line_after(start, &done, ANSWER, |line| (line == done).then_some(()));
    }

    fn ask(&mut self, what: &str) -> String {
        self.asked += 1;
        let start = self.process.lines_printed();
        let question = format!("{what} {}", self.asked);
        self.process.write_line(&question);
        self.process.line_after(start, &question, ANSWER, |line| {
            Some(line.strip_prefix(&question)?.strip_prefix(' ')?.to_owned())
        })
    }
}

impl Watches for KrarupWitness {
    fn node_name(&self) -> &str {
        &self.name
    }

    fn report(&mut self) -> Report {
        let text = self.ask("report");
        Report::parse(&text).unwrap_or_else(|| panic!("{}: no report: {text}", self.name))
    }

    fn send_bulk(&mut self, to: &str, bytes: usize, seconds: u64) {
        self.process.write_line(&format!("bulk {to} {bytes} {seconds}"));
    }
}

impl Watches for OtpNode {
    fn node_name(&self) -> &str {
        self.name()
    }

    fn report(&mut self) -> Report {
        let text = self.eval("krarup_witness:report().");
        let inside = text.strip_prefix("<<\"").and_then(|rest| rest.strip_suffix("\">>"));
        let report = inside.and_then(Report::parse);
        report.unwrap_or_else(|| panic!("{}: no report: {text}", self.name()))
    }

    fn send_bulk(&mut self, to: &str, bytes: usize, seconds: u64) {
        self.eval(&format!("krarup_witness:bulk('{to}', {bytes}, {seconds})."));
    }
}

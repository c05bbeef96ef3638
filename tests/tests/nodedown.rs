//! Why a node is said to be down: each reason that can be brought about from outside is, on Krarup
//! nodes and on real OTP nodes. `docs/reference/nodedown.md` has them all.

use std::net::Shutdown;
use std::time::Duration;

use krarup_tests::{
    Hosts, KrarupNode, Lab, OtpNode, PeerIdentity, RawPeer, Release, Role, for_each_release,
    missing, socket_of, until,
};

const TICK_TIME: &str = "4";
const SOON: Duration = Duration::from_secs(20);

for_each_release!(both_kinds_of_nodes_give_the_same_reasons);

/// A node that something is done to, and that says why its peer is down.
trait Victim {
    fn port(&mut self) -> u16;

    fn process_id(&mut self) -> u32;

    fn wait_up(&mut self, peer: &str);

    /// Why the peer went down first.
    fn reason(&mut self, peer: &str) -> String;

    fn disconnect(&mut self, peer: &str);
}

impl Victim for OtpNode {
    fn port(&mut self) -> u16 {
        let name = self.name().split('@').next().expect("a name").to_owned();
        let ask =
            format!("{{port, Port, _}} = erl_epmd:port_please(\"{name}\", {{127,0,0,1}}), Port.");
        self.eval(&ask).parse().expect("a port")
    }

    fn process_id(&mut self) -> u32 {
        self.process().pid()
    }

    fn wait_up(&mut self, peer: &str) {
        self.eval_until(&format!("hd(krarup_peer:watched('{peer}') ++ [none])."), "up", SOON);
    }

    fn reason(&mut self, peer: &str) -> String {
        let watched = format!("krarup_peer:watched('{peer}').");
        until("OTP has seen the peer go", SOON, || {
            let events = self.eval(&watched);
            let (_, reason) = events.split_once("{down,")?;
            reason.split_once('}').map(|(reason, _)| reason.to_owned())
        })
    }

    fn disconnect(&mut self, peer: &str) {
        assert_eq!(self.eval(&format!("erlang:disconnect_node('{peer}').")), "true");
    }
}

/// A `krarup node`, and an Erlang node that can ask it to do something.
struct Krarup {
    node: KrarupNode,
    asker: OtpNode,
}

impl Victim for Krarup {
    fn port(&mut self) -> u16 {
        self.node.port()
    }

    fn process_id(&mut self) -> u32 {
        self.node.process().pid()
    }

    fn wait_up(&mut self, peer: &str) {
        self.node.process().wait_line(&format!("nodeup node='{peer}'"), SOON);
    }

    fn reason(&mut self, peer: &str) -> String {
        let reason = self.node.wait_nodedown(0, peer, SOON);
        // Its log says more than subscribers are told.
        reason.split(' ').next().expect("a word").to_owned()
    }

    fn disconnect(&mut self, peer: &str) {
        let ask = format!("rpc:call('{}', erlang, disconnect_node, ['{peer}']).", self.node.name());
        assert_eq!(self.asker.eval(&ask), "true");
    }
}

/// A peer that is connected to a victim, and what is done to both.
struct Encounter<'a> {
    victim: &'a mut dyn Victim,
    name: String,
    peer: RawPeer,
}

impl<'a> Encounter<'a> {
    fn new(victim: &'a mut dyn Victim, name: &str) -> Self {
        let peer = connect(victim.port(), name);
        victim.wait_up(name);
        Self { victim, name: name.to_owned(), peer }
    }
}

fn connect(port: u16, name: &str) -> RawPeer {
    RawPeer::connect(port, &PeerIdentity::plain(name)).expect("the handshake succeeds")
}

/// Does something, and gives back what has to last until it shows.
type Fault = fn(Encounter<'_>) -> Vec<RawPeer>;

/// What is done, what OTP says, and what Krarup says.
const FAULTS: [(&str, Fault, &str, &str); 8] = [
    ("the peer closes", closes, "connection_closed", "connection_closed"),
    ("the peer resets", resets, "connection_closed", "connection_closed"),
    ("the victim disconnects", disconnects, "disconnect", "disconnect"),
    ("the peer is silent", is_silent, "net_tick_timeout", "net_tick_timeout"),
    ("the peer connects once more", connects_again, "wait_pending", "wait_pending"),
    ("the peer sends what is no message", sends_nonsense, "killed", "killed"),
    ("the peer sends a frame beyond all limits", sends_too_much, "emsgsize", "emsgsize"),
    // The reason that OTP documents for this is lost in it: its port says that it is closed.
    ("a tick cannot be written", cannot_write, "connection_closed", "send_net_tick_failed"),
];

fn closes(_: Encounter<'_>) -> Vec<RawPeer> {
    Vec::new()
}

fn resets(encounter: Encounter<'_>) -> Vec<RawPeer> {
    encounter.peer.reset();
    Vec::new()
}

fn disconnects(encounter: Encounter<'_>) -> Vec<RawPeer> {
    encounter.victim.disconnect(&encounter.name);
    vec![encounter.peer]
}

fn is_silent(encounter: Encounter<'_>) -> Vec<RawPeer> {
    vec![encounter.peer]
}

fn connects_again(encounter: Encounter<'_>) -> Vec<RawPeer> {
    vec![connect(encounter.victim.port(), &encounter.name), encounter.peer]
}

fn sends_nonsense(mut encounter: Encounter<'_>) -> Vec<RawPeer> {
    encounter.peer.send_frame(b"\x70\x83\x61\x07").expect("it listens");
    vec![encounter.peer]
}

fn sends_too_much(mut encounter: Encounter<'_>) -> Vec<RawPeer> {
    encounter.peer.send_bytes(&[0xff; 4]).expect("it listens");
    vec![encounter.peer]
}

fn cannot_write(encounter: Encounter<'_>) -> Vec<RawPeer> {
    let process = encounter.victim.process_id();
    let socket = socket_of(process, Role::Connected, encounter.peer.local_port());
    // The peer does not close for that.
    socket.shutdown(Shutdown::Write).expect("it is connected");
    vec![encounter.peer]
}

/// Does everything to one victim, and gives the reasons it names.
fn suffer(victim: &mut dyn Victim) -> Vec<(&'static str, String)> {
    let mut reasons = Vec::new();
    for (index, (what, fault, _, _)) in FAULTS.iter().enumerate() {
        let name = format!("peer{index}@127.0.0.1");
        let _last = fault(Encounter::new(victim, &name));
        reasons.push((*what, victim.reason(&name)));
    }
    reasons
}

fn both_kinds_of_nodes_give_the_same_reasons(release: Release) {
    let lab = Lab::new();
    let mut otp = lab.otp(release, "o").args(["-kernel", "net_ticktime", TICK_TIME]).start();
    otp.eval("krarup_peer:watch_nodes().");
    let node = lab.krarup("k").args(["--net-ticktime", TICK_TIME, "--shards", "2"]).start();
    let asker = lab.otp(release, "asker").args(["-kernel", "net_ticktime", TICK_TIME]).start();
    let mut krarup = Krarup { node, asker };
    let (of_otp, of_krarup) = std::thread::scope(|scope| {
        let of_otp = scope.spawn(|| suffer(&mut otp));
        let of_krarup = suffer(&mut krarup);
        (of_otp.join().expect("OTP goes down for each reason"), of_krarup)
    });
    for (index, (what, _, otp, krarup)) in FAULTS.iter().enumerate() {
        assert_eq!(of_otp[index], (*what, (*otp).to_owned()), "OTP");
        assert_eq!(of_krarup[index], (*what, (*krarup).to_owned()), "Krarup");
    }
    // The last: its own end.
    let last = "last@127.0.0.1";
    let _peer = Encounter::new(&mut krarup, last).peer;
    krarup.node.process().signal("TERM");
    assert_eq!(krarup.reason(last), "net_kernel_terminated");
}

#[test]
fn a_node_whose_listening_socket_fails_gets_another_and_keeps_its_links() {
    let lab = Lab::new();
    let mut krarup = lab.krarup("k").args(["--net-ticktime", TICK_TIME]).start();
    let port = krarup.port();
    let identity = PeerIdentity::plain("peer@127.0.0.1");
    let mut peer = RawPeer::connect(port, &identity).expect("the handshake succeeds");
    peer.ask_echo(&identity).expect("echo answers");
    let listener = socket_of(krarup.process().pid(), Role::Listens, port);
    listener.shutdown(Shutdown::Both).expect("it listens");
    drop(listener);
    krarup.process().wait_line("the node listens again", SOON);
    peer.ask_echo(&identity).expect("the link is as it was");
    let other = PeerIdentity::plain("other@127.0.0.1");
    let mut peer = RawPeer::connect(port, &other).expect("others can connect");
    peer.ask_echo(&other).expect("echo answers");
}

#[test]
fn a_node_that_cannot_listen_any_more_has_no_network() {
    if missing("netns") || Release::R27.is_missing() {
        return;
    }
    let mut hosts = Hosts::new(2);
    hosts.start_epmd(0, Release::R27);
    hosts.start_epmd(1, Release::R27);
    let address = Hosts::address(0);
    let builder = hosts.lab().krarup("k").host(&address).namespace(hosts.namespace(0));
    let mut krarup = builder.args(["--epmd", "external", "--listen-address", &address]).start();
    let otp = hosts.lab().otp(Release::R27, "o").host(&Hosts::address(1));
    let mut otp = otp.namespace(hosts.namespace(1)).start();
    assert_eq!(otp.eval(&format!("net_adm:ping('{}').", krarup.name())), "pong");
    let printed = krarup.process().lines_printed();
    // The address is gone, and the socket with it.
    let with_mask = format!("{address}/24");
    hosts.namespace(0).run("ip", &["address", "delete", &with_mask, "dev", "cable"]);
    let listener = socket_of(krarup.process().pid(), Role::Listens, krarup.port());
    listener.shutdown(Shutdown::Both).expect("it listens");
    drop(listener);
    let reason = krarup.wait_nodedown(printed, otp.name(), SOON);
    assert!(reason.starts_with("no_network"), "{reason}");
    // Whoever started the command is to know.
    assert_eq!(krarup.process().wait_exit(SOON).code(), Some(1));
}

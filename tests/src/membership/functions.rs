//! The functions that are called, with arguments that are right, nearly right and wrong.

use std::fmt;

use crate::sim::rng::Rng;

use Kind::{
    Allow, Cookie, Flag, GetNames, Host, Hosts, InfoOptions, MonitorOptions, Node, NodeToLeave,
    Options, Passive, Seconds, Sets, StartList, StartName, StartOptions, Target, Term, Transition,
    Verbosity,
};

/// A call of a function by rpc.
#[derive(Clone, Debug)]
pub struct Call {
    /// `erpc` or `rpc`.
    pub way: &'static str,
    /// Its module.
    pub module: &'static str,
    /// Its name.
    pub function: &'static str,
    /// As Erlang reads them.
    pub arguments: Vec<String>,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, module, function, arguments } = self;
        write!(formatter, "{way} {module}:{function}({})", arguments.join(", "))
    }
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Node,
    /// A node that may be parted from: not that which calls.
    NodeToLeave,
    Flag,
    MonitorOptions,
    Allow,
    Seconds,
    Transition,
    Cookie,
    Sets,
    InfoOptions,
    Passive,
    Target,
    Options,
    GetNames,
    StartName,
    StartOptions,
    StartList,
    Host,
    Hosts,
    Verbosity,
    Term,
}

/// Each function, with how often it is called beside the others.
const FUNCTIONS: &[(usize, &str, &str, &[Kind])] = &[
    (8, "net_kernel", "connect_node", &[Node]),
    (4, "net_kernel", "hidden_connect_node", &[Node]),
    (3, "net_kernel", "disconnect", &[NodeToLeave]),
    (2, "net_kernel", "allow", &[Allow]),
    (1, "net_kernel", "allowed", &[]),
    (2, "net_kernel", "monitor_nodes", &[Flag]),
    (6, "net_kernel", "monitor_nodes", &[Flag, MonitorOptions]),
    (2, "net_kernel", "set_net_ticktime", &[Seconds]),
    (4, "net_kernel", "set_net_ticktime", &[Seconds, Transition]),
    (1, "net_kernel", "get_net_ticktime", &[]),
    (6, "net_kernel", "setopts", &[Target, Options]),
    (6, "net_kernel", "getopts", &[Target, GetNames]),
    (1, "net_kernel", "connecttime", &[]),
    (1, "net_kernel", "epmd_module", &[]),
    (1, "net_kernel", "get_state", &[]),
    (1, "net_kernel", "nodename", &[]),
    (1, "net_kernel", "longnames", &[]),
    (1, "net_kernel", "stop", &[]),
    (2, "net_kernel", "start", &[StartList]),
    (3, "net_kernel", "start", &[StartName, StartOptions]),
    (1, "erlang", "nodes", &[]),
    (3, "erlang", "nodes", &[Sets]),
    (4, "erlang", "nodes", &[Sets, InfoOptions]),
    (1, "erlang", "node", &[]),
    (2, "erlang", "node", &[Term]),
    (1, "erlang", "is_alive", &[]),
    (1, "erlang", "get_cookie", &[]),
    (2, "erlang", "get_cookie", &[Node]),
    (1, "erlang", "set_cookie", &[Cookie]),
    (4, "erlang", "set_cookie", &[Node, Cookie]),
    (3, "erlang", "monitor_node", &[Node, Flag]),
    (4, "erlang", "monitor_node", &[Node, Flag, Passive]),
    (6, "erlang", "disconnect_node", &[NodeToLeave]),
    (4, "net_adm", "ping", &[Node]),
    (1, "net_adm", "names", &[]),
    (3, "net_adm", "names", &[Host]),
    (1, "net_adm", "localhost", &[]),
    (1, "net_adm", "host_file", &[]),
    (1, "net_adm", "world", &[]),
    (1, "net_adm", "world", &[Verbosity]),
    (1, "net_adm", "world_list", &[Hosts]),
    (1, "net_adm", "world_list", &[Hosts, Verbosity]),
    (1, "net_adm", "dns_hostname", &[Host]),
];

/// What no function takes, or hardly one.
const JUNK: &[&str] = &[
    "1",
    "-1",
    "0",
    "1.5",
    "\"p@127.0.0.1\"",
    "[]",
    "[p|h]",
    "{'p@127.0.0.1'}",
    "{}",
    "#{}",
    "<<\"p\">>",
    "self()",
    "make_ref()",
    "fun erlang:node/0",
    "[[]]",
    "true",
    "''",
    "nonsense",
    "[1]",
    "[nonsense]",
    "[\"p\"]",
    "[{}]",
];

/// A random call.
pub(super) fn call(rng: &mut Rng) -> Call {
    loop {
        let total: usize = FUNCTIONS.iter().map(|(weight, ..)| weight).sum();
        let mut at = rng.below(total);
        let (_, module, function, kinds) = FUNCTIONS
            .iter()
            .find(|(weight, ..)| {
                let is_here = at < *weight;
                at = at.saturating_sub(*weight);
                is_here
            })
            .expect("the weights have this sum");
        let mut arguments: Vec<String> = kinds.iter().map(|kind| value(rng, *kind)).collect();
        if !arguments.is_empty() && rng.chance(1, 8) {
            let wrong = rng.below(arguments.len());
            (*rng.pick(JUNK)).clone_into(&mut arguments[wrong]);
        }
        if rng.chance(1, 40) {
            // Of an arity that may be none of the function's.
            arguments.push((*rng.pick(JUNK)).to_owned());
        }
        let way = *rng.pick(&["erpc", "erpc", "erpc", "rpc"]);
        let call = Call { way, module, function, arguments };
        if !is_unfit(&call) {
            return call;
        }
    }
}

/// Calls after which the two may differ, or that take seconds:
///
/// * OTP's connection or `net_kernel` does not survive it;
/// * OTP asks a resolver for a name that nobody has;
/// * each later call takes as long as a late acknowledgement;
/// * a cookie is empty, which only OTP takes;
/// * the kernel refuses one of several options, of which OTP has then set those behind it.
fn is_unfit(call: &Call) -> bool {
    let arguments = call.arguments.iter().map(String::as_str).collect::<Vec<_>>();
    match (call.function, arguments.as_slice()) {
        ("setopts" | "getopts", [_, options]) if *options == "[p|h]" => true,
        ("setopts", ["'d@127.0.0.1'", options]) if options.contains("{nodelay,false}") => true,
        ("setopts", [_, options]) if options.contains("tclass") && options.contains("}, {") => true,
        ("setopts", ["new", options]) => JUNK.contains(options),
        ("set_cookie", [.., cookie]) => *cookie == "''",
        ("names" | "dns_hostname", [host]) => {
            JUNK.contains(host)
                && (host.starts_with(['[', '"'])
                    || host.starts_with(char::is_alphabetic)
                    || *host == "''")
        }
        ("world_list", [hosts, ..]) => JUNK.contains(hosts) && hosts.starts_with(['[', '"']),
        _ => false,
    }
}

fn value(rng: &mut Rng, kind: Kind) -> String {
    match kind {
        Node => node(rng),
        NodeToLeave => node_to_leave(rng),
        Flag => flag(rng),
        MonitorOptions => monitor_options(rng),
        Allow => some_of(
            rng,
            &["'p@127.0.0.1'", "'h@127.0.0.1'", "'d@127.0.0.1'", "'p@'", "'127.0.0.1'", "x"],
        ),
        Seconds => one(rng, &["60", "60", "61", "64", "90", "100", "120", "7200", "0", "-1"]),
        Transition => one(rng, &["0", "0", "0", "0", "0", "0", "0", "60", "-1"]),
        Cookie => cookie(rng),
        Sets => {
            let sets = ["visible", "hidden", "connected", "this"];
            if rng.chance(1, 2) { one(rng, &sets) } else { some_of(rng, &sets) }
        }
        InfoOptions => {
            let options = [
                "connection_id => true",
                "connection_id => false",
                "node_type => true",
                "node_type => false",
                "node_type => x",
                "x => true",
            ];
            let known = if rng.chance(1, 4) { 6 } else { 4 };
            map_of(rng, &options[..known])
        }
        Passive => one(
            rng,
            &[
                "[]",
                "[]",
                "[allow_passive_connect]",
                "[allow_passive_connect]",
                "[allow_passive_connect,allow_passive_connect]",
                "[x]",
            ],
        ),
        Target => one(
            rng,
            &[
                "'d@127.0.0.1'",
                "'d@127.0.0.1'",
                "'p@127.0.0.1'",
                "'h@127.0.0.1'",
                "'x@127.0.0.1'",
                "new",
            ],
        ),
        Options => some_of(rng, SOCKET_OPTIONS),
        GetNames => some_of(rng, SOCKET_NAMES),
        StartName => {
            one(rng, &["'n@127.0.0.1'", "other", "'other@127.0.0.1'", "undefined", "'a@b@c'"])
        }
        StartOptions => {
            // One wrong option at most: which one OTP looks at first is not said.
            let mut options: Vec<&str> =
                (0..rng.below(3)).map(|_| *rng.pick(START_OPTIONS)).collect();
            if rng.chance(1, 2) {
                options.push(*rng.pick::<&str>(WRONG_START_OPTIONS));
            }
            format!("#{{{}}}", options.join(", "))
        }
        StartList => {
            let name = value(rng, StartName);
            let kind = one(rng, &["longnames", "shortnames", "foo", "1"]);
            let ticks = one(rng, &["15000", "1", "0", "-1", "x"]);
            match rng.below(5) {
                0 => format!("[{name}]"),
                1 | 2 => format!("[{name}, {kind}]"),
                3 => format!("[{name}, {kind}, {ticks}]"),
                _ => format!("[{name}, {kind}, {ticks}, more]"),
            }
        }
        Host => one(
            rng,
            &[
                "'127.0.0.1'",
                "\"127.0.0.1\"",
                "localhost",
                "\"localhost\"",
                "{127,0,0,1}",
                "{127,0,0,300}",
                "{1,2}",
                "'127.0.0.2'",
                "{0,0,0,0,0,0,0,1}",
            ],
        ),
        Hosts => one(
            rng,
            &[
                "[]",
                "['127.0.0.1']",
                "['127.0.0.1', '127.0.0.1']",
                "[\"127.0.0.1\"]",
                "[{127,0,0,1}]",
                "['127.0.0.1'|x]",
                "[1]",
            ],
        ),
        Verbosity => one(rng, &["silent", "verbose", "nonsense"]),
        Term => one(
            rng,
            &["self()", "make_ref()", "hd(erlang:ports())", "'p@127.0.0.1'", "1", "\"a\"", "{}"],
        ),
    }
}

/// Options of a monitor of nodes.
pub(super) fn monitor_options(rng: &mut Rng) -> String {
    let list = [
        "nodedown_reason",
        "connection_id",
        "{node_type, all}",
        "{node_type, visible}",
        "{node_type, hidden}",
        "{nodedown_reason, true}",
        "{connection_id, false}",
        "{node_type, x}",
        "foo",
        "{foo, true}",
        "1",
    ];
    let map = [
        "nodedown_reason => true",
        "connection_id => true",
        "node_type => all",
        "node_type => visible",
        "node_type => hidden",
        "nodedown_reason => false",
        "connection_id => false",
        "nodedown_reason => x",
        "node_type => x",
        "foo => true",
        "list => true",
    ];
    // Mostly right ones.
    match rng.below(10) {
        0..4 => some_of(rng, &list[..5]),
        4..8 => map_of(rng, &map[..7]),
        8 => some_of(rng, &list),
        _ => map_of(rng, &map),
    }
}

/// Mostly true.
pub(super) fn flag(rng: &mut Rng) -> String {
    one(rng, &["true", "true", "false"])
}

/// Mostly the cookie that all have.
pub(super) fn cookie(rng: &mut Rng) -> String {
    one(rng, &["c", "c", "c", "c", "c", "x", "other", "nocookie"])
}

/// A node's name, mostly that of a peer.
pub(super) fn node(rng: &mut Rng) -> String {
    if rng.chance(1, 12) { "'d@127.0.0.1'".to_owned() } else { node_to_leave(rng) }
}

/// Any but the node that calls.
pub(super) fn node_to_leave(rng: &mut Rng) -> String {
    match rng.below(10) {
        0..5 => "'p@127.0.0.1'".to_owned(),
        5..8 => "'h@127.0.0.1'".to_owned(),
        8 => one(rng, &["'n@127.0.0.1'", "'nobody@127.0.0.1'"]),
        _ => one(rng, NAMES),
    }
}

/// Names that no node has, or can have.
const NAMES: &[&str] = &[
    "nobody",
    "'nonode@nohost'",
    "'a@b@c'",
    "''",
    "'@'",
    "'a@'",
    "'@127.0.0.1'",
    "undefined",
    "new",
    "'p@localhost'",
    "'p@127.0.0.2'",
    "'p@127.1'",
    "'P@127.0.0.1'",
    "'p@127.0.0.1 '",
    "'\u{fc}@127.0.0.1'",
    "'\u{2603}@127.0.0.1'",
];

const SOCKET_OPTIONS: &[&str] = &[
    "{nodelay,true}",
    "{nodelay,false}",
    "{nodelay,foo}",
    "{keepalive,true}",
    "{keepalive,false}",
    "{linger,{false,0}}",
    "{linger,true}",
    "{priority,0}",
    "{priority,3}",
    "{tos,16}",
    "{tos,0}",
    "{tclass,8}",
    "{reuseaddr,true}",
    "{send_timeout,5000}",
    "{send_timeout,infinity}",
    "{send_timeout,-1}",
    "{send_timeout_close,true}",
    "{delay_send,true}",
    "{delay_send,false}",
    "{high_watermark,10000}",
    "{low_watermark,5000}",
    "{show_econnreset,true}",
    "{active,true}",
    "{deliver,port}",
    "{packet,4}",
    "{foo,1}",
    "{1,2}",
    "{\"nodelay\",true}",
];

const SOCKET_NAMES: &[&str] = &[
    "nodelay",
    "keepalive",
    "linger",
    "priority",
    "tos",
    "tclass",
    "reuseaddr",
    "send_timeout",
    "send_timeout_close",
    "delay_send",
    "high_watermark",
    "low_watermark",
    "show_econnreset",
    "active",
    "deliver",
    "packet",
    "foo",
    "1",
    "{raw,6,1,4}",
    "{raw,1,2}",
    "\"nodelay\"",
];

const START_OPTIONS: &[&str] = &[
    "name_domain => longnames",
    "name_domain => shortnames",
    "net_ticktime => 60",
    "net_tickintensity => 4",
    "dist_listen => true",
    "hidden => false",
];

const WRONG_START_OPTIONS: &[&str] = &[
    "name_domain => x",
    "net_ticktime => 0",
    "net_tickintensity => 3",
    "net_tickintensity => 1001",
    "dist_listen => x",
    "hidden => 1",
    "x => y",
];

fn one(rng: &mut Rng, choices: &[&str]) -> String {
    (*rng.pick(choices)).to_owned()
}

/// A list of none to three of them, also of the same ones.
fn some_of(rng: &mut Rng, choices: &[&str]) -> String {
    format!("[{}]", drawn(rng, choices))
}

fn map_of(rng: &mut Rng, choices: &[&str]) -> String {
    format!("#{{{}}}", drawn(rng, choices))
}

fn drawn(rng: &mut Rng, choices: &[&str]) -> String {
    let count = *rng.pick(&[0, 1, 1, 1, 2, 2, 3]);
    let drawn: Vec<&str> = (0..count).map(|_| *rng.pick(choices)).collect();
    drawn.join(", ")
}

//! Names: which ones a node can have, and those that nodes give each other, beside Erlang nodes.

use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::{Cookie, NameType, Node, StartOptions};
use krarup_tests::{Lab, Process, Release, Stage, for_each_release, krarup_command, until};

/// How long a node may take to start and connect, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

for_each_release!(
    names_are_completed_and_refused_as_in_otp,
    an_erlang_node_is_named_and_gets_its_name_back,
    a_krarup_node_is_named_by_an_erlang_node,
    a_node_says_the_same_of_its_life,
);

/// Hosts that OTP takes and Krarup does not: they would break lines of logs.
const REFUSED_HERE: &[&str] = &["h\n", "h\u{7f}", "h\u{80}", "h\u{a0}"];

fn names_are_completed_and_refused_as_in_otp(release: Release) {
    let lab = Lab::new();
    let mut otp = lab.otp(release, "o").anonymous().start();
    otp.eval("logger:set_primary_config(level, none).");
    let node = Node::anonymous()
        .cookie(Cookie::new("c").expect("this is a cookie"))
        .epmd(EpmdMode::External)
        .epmd_port(lab.epmd_port())
        .listen_address([127, 0, 0, 1].into())
        .spin(Duration::ZERO)
        .start()
        .expect("the node starts");
    let long_head = "a".repeat(252);
    let hosts = [
        "127.0.0.1",
        "localhost",
        "h",
        "h.org",
        "::1",
        "hö",
        "\u{ff}",
        "h h",
        " ",
        "λ",
        "h@h",
        "h\n",
        "h\u{1}",
        "h\u{7f}",
        "h\u{80}",
        "h\u{a0}",
        "h!",
        "h..",
        ".",
        "-",
    ];
    let heads = ["", "a.b", "å", "a b", "a\n", "A-_9", "undefined", &long_head, "ab+", "0"];
    let mut names: Vec<String> = hosts
        .iter()
        .enumerate()
        .map(|(number, host)| format!("n{number}@{host}"))
        .chain(heads.iter().map(|head| format!("{head}@h")))
        .collect();
    names.extend(
        ["", "a", "b@", "undefined@", "undefined", "a.b", "undefined@h.org"].map(str::to_owned),
    );
    for name in &names {
        for (kind, name_type) in [("shortnames", NameType::Short), ("longnames", NameType::Long)] {
            let has_host = name.split_once('@').is_some_and(|(_, host)| !host.is_empty());
            if name_type == NameType::Long && !has_host {
                // Where a domain is known is another question.
                continue;
            }
            let characters: Vec<String> = name.chars().map(|c| u32::from(c).to_string()).collect();
            // One that was given up is free a moment later.
            let free = ("erl_epmd:names({127,0,0,1}).", "{ok,[]}", PATIENCE);
            otp.eval_until(free.0, free.1, free.2);
            let model = otp.eval(&format!(
                "(fun() ->
                    Started = net_kernel:start(list_to_atom([{}]), #{{name_domain => {kind}}}),
                    Name = case Started of
                        {{ok, _}} -> maps:get(name, net_kernel:get_state());
                        {{error, _}} -> refused
                    end,
                    net_kernel:stop(),
                    [{{Character}} || Character <- atom_to_list(Name)]
                end)().",
                characters.join(",")
            ));
            otp.eval_until(free.0, free.1, free.2);
            let options = StartOptions::new().name_type(name_type);
            let ours = match node.start_with(name.as_str(), options).wait() {
                Ok(()) => {
                    let life = node.life().expect("it is alive");
                    node.stop_distribution().wait().expect("it was started by a call");
                    life.name
                        .map_or_else(|| "undefined".to_owned(), |name| name.as_str().to_owned())
                }
                Err(_) => "refused".to_owned(),
            };
            let is_refused_here =
                REFUSED_HERE.iter().any(|host| name.ends_with(&format!("@{host}")));
            let ours: Vec<String> = ours.chars().map(|c| format!("{{{}}}", u32::from(c))).collect();
            let ours = format!("[{}]", ours.join(","));
            assert_eq!(
                ours == model,
                !is_refused_here,
                "{name:?}, {kind}: OTP {model}, ours {ours}"
            );
        }
    }
    node.stop().wait();
}

fn an_erlang_node_is_named_and_gets_its_name_back(release: Release) {
    let lab = Lab::new();
    let krarup = lab.krarup("k").start();
    let start = || {
        let undefined = ["-name", "undefined@127.0.0.1"];
        lab.otp(release, "o").anonymous().args(undefined).start()
    };
    let mut one = start();
    let connected = "true = net_kernel:connect_node('k@127.0.0.1'),
        true = rpc:call('k@127.0.0.1', erlang, nodes, [hidden]) -- Others =:= [node()],
        [] = rpc:call('k@127.0.0.1', erlang, nodes, []),
        true = is_pid(rpc:call('k@127.0.0.1', erlang, whereis, [echo])),
        {node(), erlang:system_info(creation)}.";
    one.eval("Others = [].");
    let first = one.eval(connected);
    let mut two = start();
    let (name, creation) = named(&first);
    two.eval(&format!("Others = [{name}]."));
    let (other, _) = named(&two.eval(connected));
    assert_ne!(other, name, "two nodes have one name");
    one.eval("true = erlang:disconnect_node('k@127.0.0.1').");
    let again = one.eval(
        "(fun Again() ->
            case net_kernel:connect_node('k@127.0.0.1') of
                true -> {node(), erlang:system_info(creation)};
                false -> Again()
            end
        end)().",
    );
    assert_eq!(named(&again), (name, creation + 1), "the name is another one");
    krarup.stop();
}

/// A name and a creation, from the tuple of both.
fn named(text: &str) -> (String, u64) {
    let both = text.trim_matches(['{', '}']).rsplit_once(',');
    let (name, creation) = both.unwrap_or_else(|| panic!("{text} is no pair"));
    (name.to_owned(), creation.parse().expect("a creation"))
}

fn a_krarup_node_is_named_by_an_erlang_node(release: Release) {
    let lab = Lab::new();
    let mut b = lab.otp(release, "b").start();
    let mut command = std::process::Command::new(krarup_command());
    command
        .env("ERL_EPMD_PORT", lab.epmd_port().to_string())
        .env("HOME", lab.home())
        .args(["node", "-name", "undefined@127.0.0.1", "-setcookie", "c"])
        .args(["--connect", "b@127.0.0.1"]);
    let process = Process::start("a node without a name", &mut command);
    process.wait_line("ready name=undefined port=0 ", PATIENCE);
    b.eval_until("length(nodes(hidden)).", "1", PATIENCE);
    b.eval("[Named] = nodes(hidden).");
    let state = b.eval(
        "#{started := static, name_type := dynamic, name := Named, name_domain := longnames}
            = rpc:call(Named, net_kernel, get_state, []),
        {error, not_allowed} = rpc:call(Named, net_kernel, stop, []),
        Named = rpc:call(Named, erlang, node, []),
        [b] = [list_to_atom(Name) || {Name, _} <- element(2, erl_epmd:names())],
        pong = net_adm:ping(Named),
        ok.",
    );
    assert_eq!(state, "ok");
    drop(process);
    until("the node is gone", PATIENCE, || (b.eval("nodes(hidden).") == "[]").then_some(()));
}

fn a_node_says_the_same_of_its_life(release: Release) {
    let mut stage = Stage::new(release, env!("CARGO_BIN_EXE_rust-node"));
    let state = "[{name,'N'},{name_domain,longnames},{name_type,static},{started,static}]";
    let call = |function: &str, arguments: &str| {
        format!("rpc:call(Node, net_kernel, {function}, [{arguments}])")
    };
    let raised = |arguments: &str| {
        format!(
            "try erpc:call(Node, net_kernel, start, [{arguments}])
            catch error:{{exception, Reason, _}} -> Reason end"
        )
    };
    // OTP 25 has the report of a supervisor around it.
    let started = |arguments: &str| {
        format!(
            "(fun({{error, {{already_started, Pid}}}}) when node(Pid) =:= Node -> yes;
                 ({{error, {{{{already_started, Pid}}, _Child}}}}) when node(Pid) =:= Node -> yes
            end)({})",
            call("start", arguments)
        )
    };
    let sorted = |map: &str| format!("lists:sort(maps:to_list({map}))");
    let answers = [
        (sorted(&call("get_state", "")), state),
        (sorted("gen_server:call({net_kernel, Node}, get_state)"), state),
        ("gen_server:call({net_kernel, Node}, longnames)".into(), "true"),
        ("gen_server:call({net_kernel, Node}, nodename)".into(), "'N'"),
        (started("[x]"), "yes"),
        (started("[x, shortnames]"), "yes"),
        (started("[x, longnames, 1000]"), "yes"),
        (started("x, #{}"), "yes"),
        (started("x, #{name_domain => shortnames, net_ticktime => 5, hidden => true}"), "yes"),
        (raised("[]"), "function_clause"),
        (raised("[x, shortnames, -1]"), "function_clause"),
        (raised("[x, other]"), "{invalid_option,name_domain,other}"),
        (raised("x, []"), "invalid_options"),
        (raised("\"x\", #{}"), "invalid_name"),
        (raised("x, #{more => 1}"), "{invalid_option,more,1}"),
        (raised("x, #{net_tickintensity => 2000}"), "{invalid_option,net_tickintensity,2000}"),
        (call("stop", ""), "{error,not_allowed}"),
        (call("nodename", ""), "'N'"),
        (call("longnames", ""), "true"),
        (call("connecttime", ""), "7000"),
        (call("epmd_module", ""), "erl_epmd"),
        ("rpc:call(Node, erlang, is_alive, [])".into(), "true"),
        ("rpc:call(Node, erlang, node, [])".into(), "'N'"),
        (
            "[rpc:call(Node, erlang, node, [Of]) =:= node() || Of <- [self(), make_ref(), \
          hd(erlang:ports())]]"
                .into(),
            "[true,true,true]",
        ),
        (
            "rpc:call(Node, erlang, node, [rpc:call(Node, erlang, whereis, [net_kernel])])".into(),
            "'N'",
        ),
        (
            "try erpc:call(Node, erlang, node, [x]) catch error:{exception, Why, _} -> Why end"
                .into(),
            "badarg",
        ),
    ];
    for (question, answer) in &answers {
        stage.holds(&[(question, answer)]);
    }
}

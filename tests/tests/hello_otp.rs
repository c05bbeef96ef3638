//! A Krarup node and a real Erlang node meet: names, messages, monitors, links, spawns, calls.

use std::time::Duration;

use krarup_tests::{KrarupNode, Lab, OtpNode, Release, for_each_release};

const SOON: Duration = Duration::from_secs(10);

for_each_release!(
    all_kinds_ping_both_ways,
    two_that_connect_at_once_share_one_link,
    echo_gives_back_what_it_got,
    sink_counts_and_forgets,
    what_is_not_there_is_answered_as_otp_does,
    monitors_and_links_of_living_processes_fire_when_they_end,
    monitors_and_links_fire_when_the_node_stops,
);

/// A visible Krarup node and a visible Erlang node.
fn pair(lab: &Lab, release: Release) -> (KrarupNode, OtpNode) {
    (lab.krarup("a").start(), lab.otp(release, "b").start())
}

fn all_kinds_ping_both_ways(release: Release) {
    for (short, hidden) in [(false, false), (false, true), (true, false), (true, true)] {
        let lab = Lab::new();
        let mut krarup = lab.krarup("a").hidden(hidden);
        let mut otp = lab.otp(release, "b");
        if short {
            (krarup, otp) = (krarup.short_name(), otp.short_name());
        }
        let (krarup, mut otp) = (krarup.start(), otp.start());
        let listed = if hidden { "nodes(hidden)." } else { "nodes()." };
        let (name, other) = (krarup.name(), if hidden { "nodes()." } else { "nodes(hidden)." });
        assert_eq!(otp.eval(&format!("net_adm:ping('{name}').")), "pong");
        assert_eq!(otp.eval(listed), format!("{}", quoted(name)));
        assert_eq!(otp.eval(other), "[]");
        // Twice over the same link, and again after it was dropped.
        assert_eq!(otp.eval(&format!("net_adm:ping('{name}').")), "pong");
        assert_eq!(otp.eval(&format!("erlang:disconnect_node('{name}').")), "true");
        assert_eq!(otp.eval(&format!("net_adm:ping('{name}').")), "pong");
        krarup.stop();
        otp.eval_until(listed, "[]", SOON);

        let kind = if short { "--sname" } else { "--name" };
        let own = if short { "p@localhost" } else { "p@127.0.0.1" };
        let outcome = lab.run(["ping", otp.name(), kind, own, "--cookie", "c"]).expect_code(0);
        assert_eq!(outcome.stdout.trim(), "pong");
    }
}

fn two_that_connect_at_once_share_one_link(release: Release) {
    // The attempt of the greater name survives: once Krarup's, once Erlang's.
    for name in ["a", "z"] {
        let lab = Lab::new();
        let mut otp = lab.otp(release, "b").start();
        otp.eval("krarup_peer:watch_nodes().");
        for _ in 0..3 {
            // It says that it is ready and connects; Erlang connects as soon as it hears that.
            let krarup = lab.krarup(name).args(["--connect", otp.name()]).start();
            let full_name = krarup.name().to_owned();
            assert_eq!(otp.eval(&format!("net_adm:ping('{full_name}').")), "pong");
            assert_eq!(otp.eval("nodes()."), format!("['{full_name}']"));
            let flood = format!("krarup_peer:flood_echo({{echo, '{full_name}'}}, 4, 100, 5000).");
            assert_eq!(otp.eval(&flood), "ok");
            krarup.stop();
            otp.eval_until("nodes().", "[]", SOON);
        }
    }
}

/// A list of one node name, as Erlang prints it.
fn quoted(name: &str) -> String {
    format!("['{name}']").replace("'a@localhost'", "a@localhost")
}

fn echo_gives_back_what_it_got(release: Release) {
    let lab = Lab::new();
    let (krarup, mut otp) = pair(&lab, release);
    let name = krarup.name();
    otp.eval(&format!(
        "{{echo, '{name}'}} ! {{self(), [1, {{x, <<\"é\"/utf8>>}}, #{{a => 1.5}}]}}."
    ));
    let back = otp.eval("krarup_peer:next(5000).");
    assert_eq!(back, "{echo,[1,{x,<<\"é\"/utf8>>},#{a => 1.5}]}");
    // Everything that Erlang can say, with every bit of its identifiers.
    let term = "[[], \"text\", [1 | 2], {}, {ok, -1, 255, 256, -2147483648, 2147483648},
        1 bsl 64, -(1 bsl 3000), 0.0, -1.0e300, <<>>, <<1, 2, 3:5>>, '', 'Ünïcode', true,
        list_to_atom(lists:duplicate(255, $x)), self(), make_ref(), hd(erlang:ports()),
        fun lists:map/2, fun(X) -> {X, self()} end, #{}, #{#{1 => 2} => [x], 1 => a, 1.0 => b},
        lists:seq(1, 1000), lists:duplicate(70000, $a), list_to_tuple(lists:seq(1, 300)),
        binary:copy(<<7>>, 300000), maps:from_list([{N, N} || N <- lists:seq(1, 100)])]";
    let question = format!("T = {term}, T =:= krarup_peer:ask({{echo, '{name}'}}, T, 10000).");
    assert_eq!(otp.eval(&question), "true");
    let alias = format!(
        "Alias = alias(), {{echo, '{name}'}} ! {{self(), Alias}},
         receive {{echo, Alias}} -> true after 5000 -> timeout end."
    );
    assert_eq!(otp.eval(&alias), "true");
}

fn sink_counts_and_forgets(release: Release) {
    let lab = Lab::new();
    let (krarup, mut otp) = pair(&lab, release);
    otp.eval(&format!("Sink = {{sink, '{}'}}.", krarup.name()));
    let ask = "Sink ! {self(), report}, krarup_peer:next(5000).";
    assert_eq!(otp.eval(ask), "{sink,0,0}");
    otp.eval("T = {1, \"abc\", <<0:8000>>}, [Sink ! T || _ <- lists:seq(1, 1000)], ok.");
    let counted = otp.eval("Bytes = 1000 * byte_size(term_to_binary(T)), {sink, 1000, Bytes}.");
    assert_eq!(otp.eval(ask), counted);
    let reset = "Sink ! {self(), reset}, krarup_peer:next(5000).";
    assert_eq!(otp.eval(reset), "ok");
    assert_eq!(otp.eval(ask), "{sink,0,0}");
}

/// The answers to what does not exist, each the same as that of an Erlang node in Krarup's place.
fn what_is_not_there_is_answered_as_otp_does(release: Release) {
    let lab = Lab::new();
    let (krarup, mut otp) = pair(&lab, release);
    let model = lab.otp(release, "o").start();
    let pid = "binary_to_term(<<131, 88, 119, (byte_size(Name)), Name/binary, 999999:32, 1:32,
        Creation:32>>)";
    let questions = [
        "krarup_peer:exit_reason({nobody, Node}, 5000).",
        "catch gen_server:call({nobody, Node}, request, 5000).",
        "gen_server:cast({nobody, Node}, request).",
        "{nobody, Node} ! message.",
        "{_, R} = spawn_monitor(Node, no_module, no_function, [1, two]),
            receive {'DOWN', R, process, _, Why} -> Why after 5000 -> timeout end.",
        "P = spawn_link(Node, no_module, no_function, []), process_flag(trap_exit, true),
            receive {'EXIT', P, Why} -> Why after 5000 -> timeout end.",
        "Q = spawn_request(Node, no_module, no_function, [], [monitor, {unknown, option}]),
            receive {spawn_reply, Q, error, What} -> What after 5000 -> timeout end.",
        "catch erpc:call(Node, no_module, no_function, [x], 5000).",
        "rpc:call(Node, no_module, no_function, [x], 5000).",
        &format!("element(2, krarup_peer:exit_reason({pid}, 5000))."),
        &format!(
            "process_flag(trap_exit, true), Dead = {pid}, catch link(Dead),
            receive {{'EXIT', Dead, Reason}} -> Reason after 5000 -> timeout end."
        ),
        &format!("{pid} ! message, exit({pid}, kill), unlink({pid})."),
        "net_adm:ping(Node).",
    ];
    otp.eval("process_flag(trap_exit, true).");
    for question in questions {
        let mut ask = |name: &str| {
            otp.eval(&format!(
                "(fun(Node, Name, Creation) -> {} end)('{name}', <<\"{name}\">>, 123456).",
                question.trim().trim_end_matches('.')
            ))
        };
        let expected = ask(model.name()).replace(model.name(), "N");
        assert_eq!(ask(krarup.name()).replace(krarup.name(), "N"), expected, "{question}");
    }
}

fn monitors_and_links_of_living_processes_fire_when_they_end(release: Release) {
    let lab = Lab::new();
    let (krarup, mut otp) = pair(&lab, release);
    let (name, pid) = (krarup.name(), krarup.echo_pid());
    otp.eval(&format!("Echo = {pid}, process_flag(trap_exit, true)."));
    otp.eval("ByPid = monitor(process, Echo), link(Echo).");
    otp.eval(&format!("ByName = monitor(process, {{echo, '{name}'}})."));
    otp.eval("Gone = monitor(process, Echo), demonitor(Gone).");
    // All of them stand: the process lives, and nothing has fired.
    assert_eq!(otp.eval(&format!("krarup_peer:ask({{echo, '{name}'}}, here, 5000).")), "here");
    assert_eq!(otp.eval("krarup_peer:next(0)."), "timeout");
    // It traps exits, so that only `kill` ends it.
    otp.eval("exit(Echo, because).");
    assert_eq!(otp.eval(&format!("krarup_peer:ask({{echo, '{name}'}}, still, 5000).")), "still");
    otp.eval("exit(Echo, kill).");
    let wait = "receive {'DOWN', ByPid, process, Echo, W1} -> W1 after 5000 -> timeout end.";
    assert_eq!(otp.eval(wait), "killed");
    let wait = "receive {'EXIT', Echo, W2} -> W2 after 5000 -> timeout end.";
    assert_eq!(otp.eval(wait), "killed");
    let wait = "receive {'DOWN', ByName, process, Object, W3} -> {Object, W3} after 5000 -> t end.";
    assert_eq!(otp.eval(wait), format!("{{{{echo,'{name}'}},killed}}"));
    assert_eq!(otp.eval("krarup_peer:next(200)."), "timeout");
    // What has ended is not there any more, and the node is well.
    assert_eq!(otp.eval("element(2, krarup_peer:exit_reason(Echo, 5000))."), "noproc");
    assert_eq!(otp.eval(&format!("net_adm:ping('{name}').")), "pong");
}

fn monitors_and_links_fire_when_the_node_stops(release: Release) {
    let lab = Lab::new();
    let (krarup, mut otp) = pair(&lab, release);
    let (name, pid) = (krarup.name().to_owned(), krarup.echo_pid());
    otp.eval("krarup_peer:watch_nodes(), process_flag(trap_exit, true), ok.");
    otp.eval(&format!("Echo = {pid}, ByPid = monitor(process, Echo), link(Echo)."));
    otp.eval(&format!("ByName = monitor(process, {{echo, '{name}'}})."));
    assert_eq!(otp.eval(&format!("krarup_peer:ask({{echo, '{name}'}}, here, 5000).")), "here");
    krarup.stop();
    let wait = "receive {'DOWN', ByPid, process, Echo, W1} -> W1 after 5000 -> timeout end.";
    assert_eq!(otp.eval(wait), "noconnection");
    let wait = "receive {'DOWN', ByName, process, _, W2} -> W2 after 5000 -> timeout end.";
    assert_eq!(otp.eval(wait), "noconnection");
    let wait = "receive {'EXIT', Echo, W3} -> W3 after 5000 -> timeout end.";
    assert_eq!(otp.eval(wait), "noconnection");
    let events = format!("krarup_peer:watched('{name}').");
    otp.eval_until(&events, "[up,{down,connection_closed}]", SOON);
}

//! What a node with stock services offers to any Erlang shell: where OTP has the same function, its
//! value is that of a node of OTP in Krarup's place.

use std::time::Duration;

use krarup_tests::{KrarupNode, Lab, OtpNode, Release, Stage, for_each_release};

const RUST_NODE: &str = env!("CARGO_BIN_EXE_rust-node");
const SOON: Duration = Duration::from_secs(20);

for_each_release!(
    functions_of_erlang,
    functions_of_the_kernel,
    names_are_served,
    connections_are_ended_as_asked,
    only_who_is_allowed_connects,
    a_node_tells_of_itself,
    without_services_there_are_none,
    a_node_is_halted_if_it_allows_it,
);

fn functions_of_erlang(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    stage.holds(&[
        ("rpc:call(Node, erlang, node, [])", "'N'"),
        ("rpc:call(Node, erlang, is_alive, [])", "true"),
        ("lists:member(node(), rpc:call(Node, erlang, nodes, []))", "true"),
        ("lists:member(Node, rpc:call(Node, erlang, nodes, []))", "false"),
        ("rpc:call(Node, erlang, nodes, [this])", "['N']"),
        ("rpc:call(Node, erlang, nodes, [hidden])", "[]"),
        ("rpc:call(Node, erlang, nodes, [[this, hidden]])", "['N']"),
        ("lists:member(node(), rpc:call(Node, erlang, nodes, [visible]))", "true"),
        ("lists:member(node(), rpc:call(Node, erlang, nodes, [connected]))", "true"),
        ("[] =:= [node(), Node] -- rpc:call(Node, erlang, nodes, [known])", "true"),
        (
            "erpc:call(Node, erlang, nodes, [nothing])",
            "{error,{exception,badarg,[{erlang,nodes,1}]}}",
        ),
        ("node(rpc:call(Node, erlang, whereis, [net_kernel]))", "'N'"),
        ("rpc:call(Node, erlang, whereis, [callee]) =:= gen_server:call(Server, pid)", "true"),
        ("rpc:call(Node, erlang, whereis, [nobody])", "undefined"),
        (
            "[] =:= [net_kernel, rex, user, callee] -- rpc:call(Node, erlang, registered, [])",
            "true",
        ),
        ("rpc:call(Node, erlang, get_cookie, [])", "c"),
        ("{rpc:call(Node, erlang, send, [self(), {x}]), krarup_peer:next(5000)}", "{{x},{x}}"),
        (
            "{rpc:call(Node, erlang, send, [callee, {tell, self(), x}]) =:= {tell, self(), x},
                krarup_peer:next(5000)}",
            "{true,{info,x}}",
        ),
        (
            "rpc:call(Node, erlang, send, [Server, {tell, self(), x}]), krarup_peer:next(5000)",
            "{info,x}",
        ),
        ("A = alias(), rpc:call(Node, erlang, send, [A, x]), krarup_peer:next(5000)", "x"),
        ("rpc:call(Node, erlang, send, [{nobody, Node}, x])", "x"),
        (
            "erpc:call(Node, erlang, send, [nobody, x])",
            "{error,{exception,badarg,[{erlang,send,2}]}}",
        ),
        (
            "erpc:call(Node, erlang, send, [\"\", x])",
            "{error,{exception,badarg,[{erlang,send,2}]}}",
        ),
        ("rpc:call(Node, erlang, is_process_alive, [gen_server:call(Server, pid)])", "true"),
        (
            "{P, R} = spawn_monitor(Node, krarup_callee, me, []), krarup_asker:down(R),
             rpc:call(Node, erlang, is_process_alive, [P])",
            "false",
        ),
        (
            "erpc:call(Node, erlang, is_process_alive, [self()])",
            "{error,{exception,badarg,[{erlang,is_process_alive,1}]}}",
        ),
        (
            "{P, R} = spawn_monitor(Node, krarup_callee, me, []), krarup_asker:down(R),
             {rpc:call(Node, erlang, process_info, [P]),
                rpc:call(Node, erlang, process_info, [P, messages])}",
            "{undefined,undefined}",
        ),
        ("rpc:call(Node, erlang, function_exported, [krarup_callee, add, 2])", "true"),
        ("rpc:call(Node, erlang, function_exported, [krarup_callee, add, 3])", "false"),
        ("rpc:call(Node, erlang, function_exported, [no_module, add, 2])", "false"),
        ("rpc:call(Node, erlang, function_exported, [erlang, node, 0])", "true"),
        ("rpc:call(Node, erlang, system_info, [wordsize])", "8"),
        (
            "Bin = term_to_binary(gen_server:call(Server, pid)), Size = byte_size(Bin) - 4,
             <<_:Size/binary, Creation:32>> = Bin,
             Creation =:= rpc:call(Node, erlang, system_info, [creation])",
            "true",
        ),
        (
            "[is_integer(rpc:call(Node, erlang, system_info, [What]))
                || What <- [schedulers, schedulers_online, creation]]",
            "[true,true,true]",
        ),
        (
            "[io_lib:char_list(rpc:call(Node, erlang, system_info, [What]))
                || What <- [otp_release, version, system_version, system_architecture]]",
            "[true,true,true,true]",
        ),
        (
            "erpc:call(Node, erlang, system_info, [nothing])",
            "{error,{exception,badarg,[{erlang,system_info,1}]}}",
        ),
        ("rpc:call(Node, erlang, monitor_node, [node(), true])", "true"),
        ("rpc:call(Node, erlang, disconnect_node, ['absent@127.0.0.1'])", "false"),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn functions_of_the_kernel(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    stage.holds(&[
        ("rpc:call(Node, net_kernel, connect_node, [node()])", "true"),
        ("rpc:call(Node, net_kernel, connect_node, [Node])", "true"),
        ("rpc:call(Node, net_kernel, connect_node, ['absent@127.0.0.1'])", "false"),
        ("rpc:call(Node, net_kernel, hidden_connect_node, [node()])", "true"),
        ("rpc:call(Node, net_kernel, hidden_connect_node, ['absent@127.0.0.1'])", "false"),
        ("rpc:call(Node, net_kernel, get_net_ticktime, [])", "60"),
        ("rpc:call(Node, net_kernel, longnames, [])", "true"),
        ("rpc:call(Node, net_kernel, nodename, [])", "'N'"),
        ("gen_server:call({net_kernel, Node}, {is_auth, node()})", "yes"),
        ("gen_server:call({net_kernel, Node}, longnames)", "true"),
        ("gen_server:call({net_kernel, Node}, nodename)", "'N'"),
        ("net_adm:ping(Node)", "pong"),
        ("rpc:call(Node, net_adm, ping, [node()])", "pong"),
        ("rpc:call(Node, net_adm, ping, [Node])", "pong"),
        ("rpc:call(Node, net_adm, ping, ['absent@127.0.0.1'])", "pang"),
        ("rpc:call(Node, net_adm, localhost, []) =:= net_adm:localhost()", "true"),
        ("is_list(rpc:call(Node, application, which_applications, []))", "true"),
        ("rpc:call(Node, code, ensure_loaded, [no_such_module])", "{error,nofile}"),
        ("rpc:call(Node, code, ensure_loaded, [krarup_callee])", "{module,krarup_callee}"),
        ("rpc:call(Node, code, which, [no_such_module])", "non_existing"),
        ("rpc:call(Node, code, is_loaded, [no_such_module])", "false"),
        ("rpc:call(Node, global, whereis_name, [nobody])", "undefined"),
        ("rpc:call(Node, global, registered_names, [])", "[]"),
        ("rpc:call(Node, global_group, get_own_nodes, [])", "[]"),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn names_are_served(release: Release) {
    // The peer module's echo is the same service.
    let mut stage = Stage::new(release, RUST_NODE);
    stage.holds(&[
        (
            "case rpc:call(Node, erlang, whereis, [echo]) of
                undefined -> rpc:call(Node, krarup_peer, echo_server, []);
                _ -> ok
             end,
             krarup_asker:until(fun() ->
                is_pid(rpc:call(Node, erlang, whereis, [echo])) end, true)",
            "ok",
        ),
        ("krarup_peer:ask({echo, Node}, [x], 5000)", "[x]"),
        ("{echo, Node} ! nothing, krarup_peer:ask({echo, Node}, y, 5000)", "y"),
    ]);
    for (question, answer) in [
        ("gen_server:call({krarup, Node}, nothing)", "{error,{unknown_call,nothing}}"),
        ("gen_server:cast({krarup, Node}, nothing)", "ok"),
        ("maps:get(name, gen_server:call({krarup, Node}, info))", "'N'"),
        ("{sink, Node} ! x, {sink, Node} ! {self(), report}, krarup_peer:next(5000)", "{sink,1,4}"),
        ("{sink, Node} ! {self(), reset}, krarup_peer:next(5000)", "ok"),
        ("{sink, Node} ! {self(), report}, krarup_peer:next(5000)", "{sink,0,0}"),
    ] {
        assert_eq!(stage.ask(1, question), answer, "{question}");
    }
}

fn connections_are_ended_as_asked(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    stage.asker.eval("krarup_peer:watch_nodes().");
    let watched = "krarup_asker:until(fun() ->
            lists:sublist(krarup_peer:watched(Node), 2) end,
            [up, {down, connection_closed}])";
    stage.holds(&[
        ("net_adm:ping(Node)", "pong"),
        ("rpc:call(Node, erlang, disconnect_node, [node()])", "{badrpc,nodedown}"),
        (watched, "ok"),
        ("net_adm:ping(Node)", "pong"),
    ]);
}

fn only_who_is_allowed_connects(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    let name = |of: usize| if of == 0 { "o@127.0.0.1" } else { "k@127.0.0.1" };
    let mut stranger = stage.lab.otp(release, "stranger").start();
    stage.holds(&[
        ("rpc:call(Node, net_kernel, allow, [[x, 1]])", "error"),
        ("rpc:call(Node, net_kernel, allow, [[node()]])", "ok"),
    ]);
    for of in 0..2 {
        assert_eq!(stranger.eval(&format!("net_adm:ping('{}').", name(of))), "pang");
    }
    stage.holds(&[
        ("net_adm:ping(Node)", "pong"),
        ("rpc:call(Node, net_kernel, allow, [['stranger@127.0.0.1']])", "ok"),
    ]);
    for of in 0..2 {
        assert_eq!(stranger.eval(&format!("net_adm:ping('{}').", name(of))), "pong");
    }
}

/// A node of the command, and an Erlang node that knows its name as `Node`.
fn pair<const N: usize>(release: Release, arguments: [&str; N]) -> (Lab, KrarupNode, OtpNode) {
    let lab = Lab::new();
    let krarup = lab.krarup("k").args(arguments).start();
    let mut otp = lab.otp(release, "b").module(include_str!("../otp/krarup_asker.erl")).start();
    otp.eval(&format!("Node = '{}', F = fun(Ask) -> krarup_asker:caught(Ask) end.", krarup.name()));
    (lab, krarup, otp)
}

fn a_node_tells_of_itself(release: Release) {
    let (_lab, krarup, mut otp) = pair(release, ["--shards", "2"]);
    otp.eval("Info = rpc:call(Node, krarup, info, []).");
    assert_eq!(
        otp.eval("lists:sort(maps:keys(Info))."),
        "[creation,links,name,port,shards,uptime,version]"
    );
    let known = "{maps:get(name, Info) =:= Node, maps:get(links, Info) =:= [node()],
        maps:get(shards, Info), maps:get(port, Info), maps:get(version, Info)}.";
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!("{{true,true,2,{},<<\"{version}\">>}}", krarup.port());
    assert_eq!(otp.eval(known), expected);
    // By the server as by the function, but for the time.
    let same = "maps:remove(uptime, gen_server:call({krarup, Node}, info))
        =:= maps:remove(uptime, Info).";
    assert_eq!(otp.eval(same), "true");
    let later = "is_integer(maps:get(uptime, Info)) andalso
        maps:get(uptime, rpc:call(Node, krarup, info, [])) >= maps:get(uptime, Info).";
    assert_eq!(otp.eval(later), "true");

    otp.eval("Metrics = rpc:call(Node, krarup, metrics, []).");
    let keys = "[connect_failures,downs,kicks,links,long_turns,mailbox_bytes,parks,passes,processes,\
        refusals,registered_names,shards,ups]";
    assert_eq!(otp.eval("lists:sort(maps:keys(Metrics))."), keys);
    assert_eq!(otp.eval("lists:sort(maps:keys(gen_server:call({krarup, Node}, metrics)))."), keys);
    let links =
        "[{maps:get(node, Link) =:= node(), maps:get(lane, Link), lists:sort(maps:keys(Link))}
        || Link <- maps:get(links, Metrics)].";
    let keys = "[busy,busy_times,is_connected,lane,last_received,missed_tick_intervals,node,\
        queued_bytes,received_bytes,received_signals,resumes,retained_bytes,sent_bytes,\
        sent_signals,sent_ticks,shard,silent_intervals]";
    assert_eq!(otp.eval(links), format!("[{{true,none,{keys}}}]"));
    let counted = "Before = hd(maps:get(links, rpc:call(Node, krarup, metrics, []))),
        [{sink, Node} ! binary:copy(<<1>>, 1000) || _ <- lists:seq(1, 100)],
        After = hd(maps:get(links, rpc:call(Node, krarup, metrics, []))),
        Grown = fun(Key) -> maps:get(Key, After) - maps:get(Key, Before) end,
        {Grown(received_bytes) > 100000, Grown(received_signals) >= 100}.";
    assert_eq!(otp.eval(counted), "{true,true}");

    assert_eq!(otp.eval("rpc:call(Node, krarup, echo, [[a | b]])."), "[a|b]");
    let slept = "{Time, ok} = timer:tc(fun() -> rpc:call(Node, krarup, sleep, [200]) end),
        Time >= 200000.";
    assert_eq!(otp.eval(slept), "true");
    assert_eq!(
        otp.eval("F(fun() -> erpc:call(Node, krarup, crash, [{so, 1}]) end)."),
        "{error,{exception,{so,1},[{krarup,crash,1}]}}"
    );
    let processes = "Pids = rpc:call(Node, krarup, processes, []),
        Names = [net_kernel, user, rex, echo, sink, krarup],
        {lists:usort([node(P) || P <- Pids]) =:= [Node], length(Pids) =:= length(lists:usort(Pids)),
         [] =:= [rpc:call(Node, erlang, whereis, [Name]) || Name <- Names] -- Pids}.";
    assert_eq!(otp.eval(processes), "{true,true,true}");
    krarup.stop();
}

fn without_services_there_are_none(release: Release) {
    let (_lab, krarup, mut otp) = pair(release, ["--no-services"]);
    assert_eq!(otp.eval("net_adm:ping(Node)."), "pong");
    for (module, function, arguments) in [
        ("krarup", "info", "[]"),
        ("erlang", "node", "[]"),
        ("erlang", "halt", "[]"),
        ("init", "stop", "[]"),
        ("os", "cmd", "[\"true\"]"),
    ] {
        let call = format!(
            "(fun() ->
                {{badrpc, {{'EXIT', {{undef, [Frame | _]}}}}}} =
                    rpc:call(Node, {module}, {function}, {arguments}),
                Frame
             end)()."
        );
        assert_eq!(otp.eval(&call), format!("{{{module},{function},{arguments},[]}}"));
    }
    for name in ["krarup", "rex", "echo"] {
        let call = format!("F(fun() -> gen_server:call({{{name}, Node}}, info) end).");
        let noproc =
            format!("{{exit,{{noproc,{{gen_server,call,[{{{name},'k@127.0.0.1'}},info]}}}}}}");
        assert_eq!(otp.eval(&call), noproc);
    }
    krarup.stop();
}

fn a_node_is_halted_if_it_allows_it(release: Release) {
    for (call, code) in [("erlang, halt, []", 0), ("erlang, halt, [3]", 3), ("init, stop, []", 0)] {
        let lab = Lab::new();
        let mut model = lab.otp(release, "o").start();
        let mut krarup = lab.krarup("k").args(["--allow-halt"]).start();
        let refusing = lab.krarup("n").start();
        let mut otp = lab.otp(release, "b").start();
        otp.eval("krarup_peer:watch_nodes().");
        let refused = format!("element(1, rpc:call('{}', {call})).", refusing.name());
        assert_eq!(otp.eval(&refused), "badrpc");
        for (name, process) in [("o", model.process()), ("k", krarup.process())] {
            // The answer may come before the end.
            otp.eval(&format!("rpc:call('{name}@127.0.0.1', {call})."));
            assert_eq!(process.wait_exit(SOON).code(), Some(code), "{name}: {call}");
            let events = format!("lists:last(krarup_peer:watched('{name}@127.0.0.1')).");
            otp.eval_until(&events, "{down,connection_closed}", SOON);
        }
        assert_eq!(otp.eval(&format!("net_adm:ping('{}').", refusing.name())), "pong");
        refusing.stop();
    }
}

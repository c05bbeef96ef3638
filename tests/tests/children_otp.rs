//! Nodes that others start: a `krarup node` in the place of `erl`, for `slave` and `peer` of OTP.

use std::time::Duration;

use krarup_tests::{Guest, Lab, OtpNode, Release, for_each_release, krarup_command, until};

const SOON: Duration = Duration::from_secs(30);

for_each_release!(
    slave_starts_a_krarup_node,
    slave_starts_what_it_was_started_with,
    peer_starts_a_krarup_node,
    peer_links_a_krarup_node,
    peer_speaks_to_a_krarup_node_without_a_connection,
    what_a_child_prints_its_parent_prints,
    a_child_ends_with_its_parent,
);

/// A node that starts others; `Krarup` is bound to the command, as long as the second value lives.
fn parent(lab: &Lab, release: Release) -> (OtpNode, Guest) {
    let mut parent = lab.otp(release, "parent").start();
    let command = Guest::new(release, &krarup_command());
    parent.eval(&format!("Krarup = \"{}\", ok.", command.path().display()));
    (parent, command)
}

fn slave_starts_a_krarup_node(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    let start = "slave:start(\"127.0.0.1\", child, \"-setcookie c\", no_link, Krarup).";
    assert_eq!(parent.eval_within(start, SOON), "{ok,'child@127.0.0.1'}");
    assert_eq!(parent.eval("lists:member('child@127.0.0.1', nodes())."), "true");
    let name = "erpc:call('child@127.0.0.1', erlang, node, []).";
    assert_eq!(parent.eval(name), "'child@127.0.0.1'");
    let again = "{error, {already_running, _}} =
        slave:start(\"127.0.0.1\", child, \"-setcookie c\", no_link, Krarup), ok.";
    assert_eq!(parent.eval_within(again, SOON), "ok");
    assert_eq!(parent.eval("slave:stop('child@127.0.0.1')."), "ok");
    parent.eval_until("net_adm:ping('child@127.0.0.1').", "pang", SOON);
    // Linked: the child ends with the process that started it.
    ends_with_its_owner(
        &mut parent,
        "fun",
        "slave:start(\"127.0.0.1\", linked, \"-setcookie c\", self(), Krarup)",
    );
}

/// Has a process that `spawned` begins start the node `linked`, and end: the node ends, too.
fn ends_with_its_owner(parent: &mut OtpNode, spawned: &str, start: &str) {
    parent.eval(&format!(
        "Self = self(), Owner = spawn({spawned}() ->
            Self ! {start},
            receive stop -> ok end
        end), ok."
    ));
    let started = "receive {ok, Linked} -> Linked after 30000 -> timeout end.";
    assert_eq!(parent.eval_within(started, SOON), "'linked@127.0.0.1'");
    parent.eval("exit(Owner, kill).");
    parent.eval_until("net_adm:ping('linked@127.0.0.1').", "pang", SOON);
}

/// `slave:start/3` has no argument for the program: it starts the one that its own node was started
/// as, which is what the variable `PROGNAME` says.
fn slave_starts_what_it_was_started_with(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    parent.eval_within(
        "open_port({spawn_executable, filename:join(os:getenv(\"BINDIR\"), \"erlexec\")},
            [{env, [{\"PROGNAME\", Krarup}]}, {args, [\"-name\", \"starter@127.0.0.1\",
                \"-setcookie\", \"c\", \"-start_epmd\", \"false\", \"-noinput\",
                \"-kernel\", \"inet_dist_use_interface\", \"{127,0,0,1}\",
                \"-eval\", \"spawn(fun() -> erlang:monitor_node('parent@127.0.0.1', true),
                    receive {nodedown, _} -> halt() end end).\"]}]), ok.",
        SOON,
    );
    parent.eval_until("net_adm:ping('starter@127.0.0.1').", "pong", SOON);
    let start = "erpc:call('starter@127.0.0.1', slave, start,
        [\"127.0.0.1\", child, \"-setcookie c\"]).";
    assert_eq!(parent.eval_within(start, SOON), "{ok,'child@127.0.0.1'}");
    let is_krarup = "maps:get(name, erpc:call('child@127.0.0.1', krarup, info, [])).";
    assert_eq!(parent.eval(is_krarup), "'child@127.0.0.1'");
    ends_with_its_owner(
        &mut parent,
        "'starter@127.0.0.1', fun",
        "slave:start_link(\"127.0.0.1\", linked, \"-setcookie c\")",
    );
    assert_eq!(parent.eval("net_adm:ping('child@127.0.0.1')."), "pong");
    // The other child ends with the node that started it.
    parent.eval("erpc:cast('starter@127.0.0.1', erlang, halt, []).");
    parent.eval_until("net_adm:ping('child@127.0.0.1').", "pang", SOON);
}

fn peer_starts_a_krarup_node(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    parent.eval(
        "Options = #{name => child, host => \"127.0.0.1\", longnames => true, exec => Krarup,
            args => [\"-setcookie\", \"c\"]}, ok.",
    );
    let start = "{ok, Peer, Node} = peer:start(Options), Node.";
    assert_eq!(parent.eval_within(start, SOON), "'child@127.0.0.1'");
    assert_eq!(parent.eval("peer:get_state(Peer)."), "running");
    let echo = "erpc:call(Node, krarup, echo, [{a, \"b\", <<99>>}]).";
    assert_eq!(parent.eval(echo), "{a,\"b\",<<\"c\">>}");
    assert_eq!(parent.eval_within("peer:stop(Peer).", SOON), "ok");
    parent.eval_until("net_adm:ping(Node).", "pang", SOON);
    // It ends with its control process, too.
    parent.eval_within("{ok, Second, Node} = peer:start(Options), ok.", SOON);
    parent.eval("exit(Second, kill).");
    parent.eval_until("net_adm:ping(Node).", "pang", SOON);
}

fn peer_links_a_krarup_node(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    parent.eval(
        "Self = self(),
        Name = peer:random_name(child),
        Options = #{name => Name, host => \"127.0.0.1\", longnames => true, exec => Krarup,
            args => [\"-setcookie\", \"c\"]},
        Owner = spawn(fun() ->
            {ok, P, N} = peer:start_link(Options),
            Self ! {started, P, N},
            receive stop -> ok end
        end), ok.",
    );
    let started = "{Peer, Node} = receive {started, P, N} -> {P, N} after 30000 -> none end,
        atom_to_list(Node) =:= Name ++ \"@127.0.0.1\".";
    assert_eq!(parent.eval_within(started, SOON), "true");
    assert_eq!(parent.eval("erpc:call(Node, erlang, node, []) =:= Node."), "true");
    // The peer ends with whom it is linked to, and the node with the peer.
    parent.eval("Watch = monitor(process, Peer), exit(Owner, shutdown).");
    let ended = "receive {'DOWN', Watch, _, _, Why} -> Why after 30000 -> still_there end.";
    assert_eq!(parent.eval_within(ended, SOON), "shutdown");
    parent.eval_until("net_adm:ping(Node).", "pang", SOON);
}

fn peer_speaks_to_a_krarup_node_without_a_connection(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    for (number, connection) in ["standard_io", "0", "{{127,0,0,1}, 0}"].iter().enumerate() {
        let peer = format!("P{number}");
        let start = format!(
            "{{ok, {peer}, N{number}}} =
                peer:start(#{{connection => {connection}, exec => Krarup}}), N{number}."
        );
        assert_eq!(parent.eval_within(&start, SOON), "nonode@nohost", "{connection}");
        for (question, answer) in [
            ("peer:get_state(P)", "running"),
            ("peer:call(P, erlang, node, [])", "nonode@nohost"),
            ("peer:call(P, krarup, echo, [[1, {x}]])", "[1,{x}]"),
            (
                "try peer:call(P, krarup, crash, [oops]) catch C:R:S -> {C, R, hd(S)} end",
                "{error,oops,{krarup,crash,1,[]}}",
            ),
            ("try peer:call(P, no, function, []) catch C:R -> {C, R} end", "{error,undef}"),
            ("peer:cast(P, krarup, echo, [x])", "ok"),
            ("peer:send(P, sink, counted), ok", "ok"),
        ] {
            let asked = parent.eval(&format!("(fun(P) -> {question} end)({peer})."));
            assert_eq!(asked, answer, "{connection}: {question}");
        }
        let stop = format!("peer:stop({peer}).");
        assert_eq!(parent.eval_within(&stop, SOON), "ok", "{connection}");
    }
    // A node with a name has both ways.
    let start = "{ok, Both, Child} = peer:start(#{connection => standard_io, exec => Krarup,
        name => both, host => \"127.0.0.1\", longnames => true, args => [\"-setcookie\", \"c\"]}), Child.";
    assert_eq!(parent.eval_within(start, SOON), "'both@127.0.0.1'");
    assert_eq!(parent.eval("peer:call(Both, erlang, node, [])."), "'both@127.0.0.1'");
    assert_eq!(parent.eval("net_adm:ping(Child)."), "pong");
    assert_eq!(parent.eval_within("peer:stop(Both).", SOON), "ok");
}

fn what_a_child_prints_its_parent_prints(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    // Who starts a peer lends it its group leader.
    parent.eval(
        "Self = self(),
        Printer = spawn(fun Print() -> receive
            {io_request, From, Ref, {put_chars, unicode, Text}} ->
                Self ! {printed, Text}, From ! {io_reply, Ref, ok}, Print();
            {io_request, From, Ref, _} ->
                From ! {io_reply, Ref, {error, request}}, Print()
        end end),
        Printed = fun(Text) -> receive {printed, Text} -> Text after 10000 -> nothing end end,
        Print = fun(To, Text) ->
            Ref = make_ref(),
            To ! {io_request, self(), Ref, {put_chars, unicode, Text}},
            receive {io_reply, Ref, Reply} -> Reply after 10000 -> nothing end
        end, ok.",
    );
    parent.eval_within(
        "spawn(fun() ->
            group_leader(Printer, self()),
            Common = #{host => \"127.0.0.1\", longnames => true, exec => Krarup,
                args => [\"-setcookie\", \"c\"]},
            {ok, P, _} = peer:start(Common#{name => a}),
            {ok, S, _} = peer:start(Common#{name => b, connection => standard_io}),
            Self ! {started, P, S},
            receive after infinity -> ok end
        end),
        {P, S} = receive {started, A, B} -> {A, B} after 30000 -> error(timeout) end,
        pong = net_adm:ping('b@127.0.0.1'), ok.",
        SOON,
    );
    for (node, text) in [("a@127.0.0.1", "<<\"one\">>"), ("b@127.0.0.1", "<<\"two\">>")] {
        let print = format!("{{Print({{user, '{node}'}}, {text}), Printed({text})}}.");
        assert_eq!(parent.eval(&print), format!("{{ok,{text}}}"), "{node}");
    }
    parent.eval_within("peer:stop(P), peer:stop(S).", SOON);
}

fn a_child_ends_with_its_parent(release: Release) {
    let lab = Lab::new();
    let (mut parent, _command) = parent(&lab, release);
    parent.eval_within(
        "{ok, _, A} = peer:start(#{name => a, host => \"127.0.0.1\", longnames => true,
            exec => Krarup, args => [\"-setcookie\", \"c\"]}),
        {ok, B} = slave:start(\"127.0.0.1\", b, \"-setcookie c\", no_link, Krarup),
        {ok, _, C} = peer:start(#{connection => 0, exec => Krarup, name => c, host => \"127.0.0.1\",
            longnames => true, args => [\"-setcookie\", \"c\"]}), ok.",
        SOON,
    );
    let names = || lab.run(["names"]).stdout;
    for child in ["name a at", "name b at", "name c at"] {
        assert!(names().contains(child), "{child}");
    }
    parent.process().kill();
    until("every child has ended", SOON, || {
        let left = names();
        ["name a at", "name b at", "name c at"]
            .iter()
            .all(|name| !left.contains(name))
            .then_some(())
    });
}

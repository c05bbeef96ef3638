//! `rpc`, `erpc`, `erl_call` and `krarup call` between Erlang and Krarup, both ways: every question
//! is put to functions in Rust and to those of OTP in their place.

use std::future::{Future, poll_fn};
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use krarup::term::{Atom, Pid, Term};
use krarup::{Mailbox, Node, Process, ProcessResult, RpcError, Signal, Ties};
use krarup_tests::{
    Callee, Lab, Outcome, Release, Stage, asking_node, for_each_release, inside, otp_command, term,
    until,
};

const RUST_NODE: &str = env!("CARGO_BIN_EXE_rust-node");
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);
const MODULE: &str = "krarup_callee";

for_each_release!(
    erlang_gets_values,
    erlang_gets_exceptions,
    erlang_gives_calls_up,
    erlang_asks_many_and_later,
    erlang_asks_rex,
    a_panic_in_rust_is_an_error,
    nodes_end_while_erlang_waits,
    erl_call_gets_values,
    rust_gets_values_and_exceptions,
    rust_gives_calls_up,
    nodes_end_while_rust_waits,
    the_command_prints_values,
    the_command_says_what_failed,
);

fn erlang_gets_values(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        ("erpc:call(Node, krarup_callee, add, [1, 2])", "3"),
        ("rpc:call(Node, krarup_callee, add, [1 bsl 40, -1])", "1099511627775"),
        ("rpc:call(Node, krarup_callee, echo, [{a, [b | c], #{}}], 5000)", "{a,[b|c],#{}}"),
        ("erpc:call(Node, krarup_callee, echo, [{'EXIT', x}])", "{'EXIT',x}"),
        ("rpc:call(Node, krarup_callee, echo, [{'EXIT', x}])", "{badrpc,{'EXIT',x}}"),
        ("rpc:call(Node, krarup_callee, echo, [{badrpc, x}])", "{badrpc,x}"),
        ("erpc:call(Node, erlang, apply, [krarup_callee, echo, [x]])", "x"),
        ("erpc:call(Node, erlang, apply, [fun krarup_callee:add/2, [1, 2]])", "3"),
        ("rpc:call(Node, erlang, apply, [fun krarup_callee:add/2, [1, 2]])", "3"),
        ("erpc:call(Node, fun krarup_callee:leader/0) =:= group_leader()", "true"),
        ("erpc:call(Node, fun krarup_callee:leader/0, 5000) =:= group_leader()", "true"),
        ("rpc:call(Node, krarup_callee, leader, []) =:= group_leader()", "true"),
        ("node(erpc:call(Node, krarup_callee, me, []))", "'N'"),
        // Each call is a process of its own, which has ended with it.
        (
            "P = erpc:call(Node, krarup_callee, me, []), P =/= erpc:call(Node, krarup_callee, me, [])
             andalso element(2, krarup_peer:exit_reason(P, 5000))",
            "noproc",
        ),
        ("byte_size(erpc:call(Node, krarup_callee, big, [10000000]))", "10000000"),
        ("byte_size(rpc:call(Node, krarup_callee, big, [10000000]))", "10000000"),
        ("erpc:call(Node, krarup_callee, size, [binary:copy(<<1>>, 10000000)])", "10000000"),
        (
            "T = [lists:seq(1, 50000), self(), make_ref(), 1.5, <<3:2>>, 'Ünïcode', krarup_asker:closure()],
             T =:= erpc:call(Node, krarup_callee, echo, [T])",
            "true",
        ),
        ("ok = erpc:cast(Node, krarup_callee, tell, [self(), x]), {told, _, T} = krarup_peer:next(5000), T", "x"),
        ("true = rpc:cast(Node, krarup_callee, tell, [self(), x]), {told, _, T} = krarup_peer:next(5000), T", "x"),
        ("ok = erpc:multicast([Node], krarup_callee, tell, [self(), x]), {told, _, T} = krarup_peer:next(5000), T", "x"),
        ("erpc:cast(Node, krarup_callee, fail, [error, x])", "ok"),
        ("erpc:cast(Node, no_module, no_function, [x])", "ok"),
        (
            "Me = self(),
             ok = erpc:cast(Node, erlang, apply, [fun krarup_callee:tell/2, [Me, y]]),
             {told, _, T} = krarup_peer:next(5000), T",
            "y",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn erlang_gets_exceptions(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        ("erpc:call(Node, krarup_callee, fail, [throw, {a, 1}])", "{throw,{a,1}}"),
        ("rpc:call(Node, krarup_callee, fail, [throw, {a, 1}])", "{a,1}"),
        ("erpc:call(Node, krarup_callee, fail, [exit, {a, 1}])", "{exit,{exception,{a,1}}}"),
        ("rpc:call(Node, krarup_callee, fail, [exit, {a, 1}])", "{badrpc,{'EXIT',{a,1}}}"),
        ("erpc:call(Node, krarup_callee, fail, [exit, normal])", "{exit,{exception,normal}}"),
        (
            "erpc:call(Node, krarup_callee, fail, [error, {a, 1}])",
            "{error,{exception,{a,1},[{krarup_callee,fail,2}]}}",
        ),
        (
            "krarup_asker:brief(rpc:call(Node, krarup_callee, fail, [error, {a, 1}]))",
            "{badrpc,{'EXIT',{{a,1},[{krarup_callee,fail,2}]}}}",
        ),
        (
            "erpc:call(Node, krarup_callee, fail, [error, {erpc, x}])",
            "{error,{exception,{erpc,x},[{krarup_callee,fail,2}]}}",
        ),
        (
            "erpc:call(Node, krarup_callee, add, [a, 2])",
            "{error,{exception,function_clause,[{krarup_callee,add,2}]}}",
        ),
        (
            "krarup_asker:brief(rpc:call(Node, krarup_callee, fail, [none, x]))",
            "{badrpc,{'EXIT',{function_clause,[{krarup_callee,fail,2}]}}}",
        ),
        (
            "try erpc:call(Node, krarup_callee, no_function, [x, 1])
             catch error:{exception, undef, Stack} -> hd(Stack) end",
            "{krarup_callee,no_function,[x,1],[]}",
        ),
        (
            "{badrpc, {'EXIT', {undef, [Top | _]}}} = rpc:call(Node, no_module, no_function, []), Top",
            "{no_module,no_function,[],[]}",
        ),
        (
            "try erpc:call(Node, krarup_callee, add, [1])
             catch error:{exception, undef, Stack} -> hd(Stack) end",
            "{krarup_callee,add,[1],[]}",
        ),
        // A closure of a module that is not there.
        (
            "F = krarup_asker:closure(),
             try erpc:call(Node, F) catch error:{exception, undef, Stack} -> hd(Stack) =:= {F, [], []} end",
            "true",
        ),
        (
            "F = krarup_asker:closure(),
             {badrpc, {'EXIT', {undef, Stack}}} = rpc:call(Node, erlang, apply, [F, []]),
             hd(Stack) =:= {F, [], []}",
            "true",
        ),
        (
            "try erpc:call(Node, fun krarup_callee:no_function/0)
             catch error:{exception, undef, Stack} -> hd(Stack) end",
            "{krarup_callee,no_function,[],[]}",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn erlang_gives_calls_up(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        (
            "Answer = krarup_asker:caught(fun() -> erpc:call(Node, krarup_callee, hold, [self()], 200) end),
             receive {held, P} -> ok end,
             Ref = monitor(process, P), P ! {return, late},
             {Answer, krarup_asker:down(Ref) =/= still_alive, krarup_asker:mailbox()}",
            "{{error,{erpc,timeout}},true,[]}",
        ),
        (
            "Answer = rpc:call(Node, krarup_callee, hold, [self()], 200),
             receive {held, P} -> ok end,
             Ref = monitor(process, P), P ! {return, late},
             {Answer, krarup_asker:down(Ref) =/= still_alive, krarup_asker:mailbox()}",
            "{{badrpc,timeout},true,[]}",
        ),
        // The process of a call is ended by others.
        (
            "Me = self(), spawn(fun() ->
                Me ! krarup_asker:caught(fun() -> erpc:call(Node, krarup_callee, hold, [Me]) end)
             end),
             receive {held, P} -> exit(P, {so, 1}) end, krarup_peer:next(5000)",
            "{exit,{signal,{so,1}}}",
        ),
        (
            "Me = self(), spawn(fun() -> Me ! rpc:call(Node, krarup_callee, hold, [Me]) end),
             receive {held, P} -> exit(P, kill) end, krarup_peer:next(5000)",
            "{badrpc,{'EXIT',killed}}",
        ),
        // The caller ends before the function.
        (
            "Me = self(),
             Caller = spawn(fun() -> Me ! erpc:call(Node, krarup_callee, hold, [Me]) end),
             receive {held, P} -> ok end,
             exit(Caller, kill), Ref = monitor(process, P), P ! {return, late},
             krarup_asker:down(Ref) =/= still_alive andalso krarup_asker:mailbox()",
            "[]",
        ),
        (
            "Id = erpc:send_request(Node, krarup_callee, hold, [self()]),
             receive {held, P} -> ok end,
             no_response = erpc:wait_response(Id, 50),
             P ! {return, 1}, erpc:wait_response(Id, 5000)",
            "{response,1}",
        ),
        (
            "Id = erpc:send_request(Node, krarup_callee, hold, [self()]),
             receive {held, P} -> ok end,
             Answer = krarup_asker:caught(fun() -> erpc:receive_response(Id, 50) end),
             Ref = monitor(process, P), P ! {return, 1}, krarup_asker:down(Ref),
             {Answer, krarup_asker:mailbox()}",
            "{{error,{erpc,timeout}},[]}",
        ),
        ("erpc:call('absent@127.0.0.1', krarup_callee, me, [])", "{error,{erpc,noconnection}}"),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn erlang_asks_many_and_later(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        (
            "erpc:multicall([Node, Node, 'absent@127.0.0.1'], krarup_callee, add, [1, 2])",
            "[{ok,3},{ok,3},{error,{erpc,noconnection}}]",
        ),
        (
            "[{Class, krarup_asker:brief(Why)} ||
                {Class, Why} <- erpc:multicall([Node, Node], krarup_callee, fail, [error, x])]",
            "[{error,{exception,x,[{krarup_callee,fail,2}]}},\
              {error,{exception,x,[{krarup_callee,fail,2}]}}]",
        ),
        ("erpc:multicall([Node], krarup_callee, fail, [throw, x])", "[{throw,x}]"),
        ("erpc:multicall([Node], krarup_callee, fail, [exit, x])", "[{exit,{exception,x}}]"),
        (
            "Answers = erpc:multicall([Node, Node], krarup_callee, hold, [self()], 200),
             [receive {held, P} -> P ! {return, late} end || _ <- [1, 2]], Answers",
            "[{error,{erpc,timeout}},{error,{erpc,timeout}}]",
        ),
        (
            "rpc:multicall([Node, 'absent@127.0.0.1', Node], krarup_callee, add, [1, 2])",
            "{[3,3],['absent@127.0.0.1']}",
        ),
        (
            "rpc:multicall([Node], krarup_callee, fail, [exit, x], 5000)",
            "{[{badrpc,{'EXIT',x}}],[]}",
        ),
        ("rpc:yield(rpc:async_call(Node, krarup_callee, add, [1, 2]))", "3"),
        (
            "Key = rpc:async_call(Node, krarup_callee, hold, [hd([self()])]),
             receive {held, P} -> timeout = rpc:nb_yield(Key), P ! {throw, ball} end,
             rpc:nb_yield(Key, 5000)",
            "{value,ball}",
        ),
        (
            "Id = erpc:send_request(Node, krarup_callee, add, [1, 2]), erpc:receive_response(Id)",
            "3",
        ),
        (
            "Id = erpc:send_request(Node, krarup_callee, fail, [throw, x]),
             receive M -> erpc:check_response(M, Id) after 5000 -> timeout end",
            "{throw,x}",
        ),
        (
            "Id = erpc:send_request(Node, fun krarup_callee:me/0), node(erpc:receive_response(Id, 5000))",
            "'N'",
        ),
        (
            "Ids = lists:foldl(
                fun(N, Ids) -> erpc:send_request(Node, krarup_callee, add, [N, N], N, Ids) end,
                erpc:reqids_new(), [1, 2, 3]),
             Receive = fun Again(Left) ->
                case erpc:receive_response(Left, 5000, true) of
                    no_request -> [];
                    {Value, Label, Rest} -> [{Label, Value} | Again(Rest)]
                end
             end, lists:sort(Receive(Ids))",
            "[{1,2},{2,4},{3,6}]",
        ),
        // Many at a time.
        (
            "Ids = [{N, erpc:send_request(Node, krarup_callee, add, [N, 1])} || N <- lists:seq(1, 2000)],
             [] =:= [N || {N, Id} <- Ids, erpc:receive_response(Id, 10000) =/= N + 1]",
            "true",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn erlang_asks_rex(release: Release) {
    Stage::new(release, RUST_NODE).holds(&[
        ("rpc:block_call(Node, krarup_callee, add, [1, 2])", "3"),
        ("rpc:block_call(Node, krarup_callee, add, [1, 2], 5000)", "3"),
        ("rpc:block_call(Node, krarup_callee, fail, [throw, x], 5000)", "x"),
        ("rpc:block_call(Node, krarup_callee, fail, [exit, x], 5000)", "{badrpc,{'EXIT',x}}"),
        (
            "krarup_asker:brief(rpc:block_call(Node, krarup_callee, fail, [error, x], 5000))",
            "{badrpc,{'EXIT',{x,[{krarup_callee,fail,2}]}}}",
        ),
        (
            "{badrpc, {'EXIT', {undef, [Top | _]}}} =
                rpc:block_call(Node, no_module, no_function, [x], 5000), Top",
            "{no_module,no_function,[x],[]}",
        ),
        ("rpc:block_call(Node, krarup_callee, leader, []) =:= group_leader()", "true"),
        (
            "rpc:sbcast([Node, node()], callee, {tell, self(), x}) =:= {[Node], [node()]}
             andalso krarup_peer:next(5000)",
            "{info,x}",
        ),
        ("rpc:sbcast([Node], nobody, x) =:= {[], [Node]}", "true"),
        ("rpc:abcast([Node], callee, {tell, self(), x}), krarup_peer:next(5000)", "{info,x}"),
        // As nodes in C and Java ask.
        (
            "{rex, Node} ! {self(), {call, krarup_callee, add, [1, 2], user}},
             krarup_peer:next(5000)",
            "{rex,3}",
        ),
        (
            "{rex, Node} ! {self(), {call, krarup_callee, fail, [exit, x], group_leader()}},
             krarup_peer:next(5000)",
            "{rex,{badrpc,{'EXIT',x}}}",
        ),
        (
            "{rex, Node} ! {self(), {send, callee, {tell, x}}},
             {rex, Node} ! {self(), features_request},
             {features_reply, Node, Features} = krarup_peer:next(5000),
             lists:member(erpc, Features)",
            "true",
        ),
        (
            "gen_server:cast({rex, Node}, {cast, krarup_callee, tell, [self(), x], group_leader()}),
             {told, _, T} = krarup_peer:next(5000), T",
            "x",
        ),
        ("krarup_asker:mailbox()", "[]"),
    ]);
}

fn a_panic_in_rust_is_an_error(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    for (question, answer) in [
        (
            "erpc:call(Node, krarup_callee, panic, [<<\"a bug\">>])",
            "{error,{exception,{panic,<<\"a bug\">>},[{krarup_callee,panic,1}]}}",
        ),
        (
            "krarup_asker:brief(rpc:call(Node, krarup_callee, panic, [<<\"a bug\">>]))",
            "{badrpc,{'EXIT',{{panic,<<\"a bug\">>},[{krarup_callee,panic,1}]}}}",
        ),
        ("erpc:cast(Node, krarup_callee, panic, [<<\"a bug\">>])", "ok"),
        ("erpc:call(Node, krarup_callee, panic, [<<>>])", "ok"),
    ] {
        assert_eq!(stage.ask(1, question), answer, "{question}");
    }
}

fn nodes_end_while_erlang_waits(release: Release) {
    let Stage { mut asker, callees, lab: _lab } = Stage::new(release, RUST_NODE);
    for callee in callees {
        let name = callee.name().to_owned();
        // Four calls that wait, each told of by the function it called.
        asker.eval(&format!(
            "(fun(Node, Me) ->
                Calls = [
                    fun() -> erpc:call(Node, krarup_callee, hold, [Me]) end,
                    fun() -> rpc:call(Node, krarup_callee, hold, [Me]) end,
                    fun() -> rpc:block_call(Node, krarup_callee, hold, [Me]) end,
                    fun() -> erpc:multicall([Node], krarup_callee, hold, [Me]) end
                ],
                put(calls, [spawn(fun() -> Me ! {{self(), krarup_asker:caught(Call)}} end)
                    || Call <- Calls]),
                put(id, erpc:send_request(Node, krarup_callee, hold, [Me])),
                [receive {{held, _}} -> ok end || _ <- [id | Calls]]
             end)('{name}', self())."
        ));
        // As `kill -9` does.
        drop(callee);
        let answers = asker.eval(
            "{[receive {P, Answer} -> Answer after 10000 -> nothing end || P <- get(calls)],
                krarup_asker:caught(fun() -> erpc:receive_response(get(id), 5000) end),
                krarup_asker:mailbox()}.",
        );
        let expected = "{[{error,{erpc,noconnection}},{badrpc,nodedown},{badrpc,nodedown},\
                        [{error,{erpc,noconnection}}]],{error,{erpc,noconnection}},[]}";
        assert_eq!(answers, expected, "{name}");
    }
}

fn erl_call_gets_values(release: Release) {
    let lab = Lab::new();
    let callees = Callee::of_both_kinds(&lab, release, RUST_NODE);
    let node = lab.krarup("node").start();
    let erl_call = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(otp_command("erl_call", release));
        command.env("ERL_EPMD_PORT", lab.epmd_port().to_string()).env("HOME", "/tmp");
        command.args(["-r", "-name", name, "-c", "c"]).args(arguments);
        let outcome = Outcome::of(&mut command, SOON);
        (outcome.code, outcome.stdout.trim().to_owned())
    };
    for name in callees.iter().map(Callee::name) {
        for (call, answer) in [
            ("krarup_callee add [1,2]", "3"),
            ("krarup_callee echo [{a,[b,c],\"text\",1.5}]", "{a, [b, c], \"text\", 1.500000}"),
            ("krarup_callee fail [throw,ball]", "ball"),
            ("krarup_callee fail [exit,x]", "{badrpc, {'EXIT', x}}"),
            ("erlang node []", &format!("'{name}'")),
        ] {
            let (code, said) = erl_call(name, &["-a", call]);
            assert_eq!((code, said.as_str()), (Some(0), answer), "{name}: {call}");
        }
        let (code, said) = erl_call(name, &["-timeout", "10", "-a", "krarup_callee add [40,2]"]);
        assert_eq!((code, said.as_str()), (Some(0), "42"), "{name}");
        let fetch = ["-fetch_stdout", "-a", "krarup_callee add [40,2]"];
        assert_eq!(erl_call(name, &fetch), (Some(0), "42".to_owned()), "{name}");
        let print = ["-fetch_stdout", "-no_result_term", "-a", "krarup_callee print [\"printed\"]"];
        assert_eq!(erl_call(name, &print), (Some(0), "printed".to_owned()), "{name}");
    }
    assert_eq!(erl_call(node.name(), &["-a", "krarup echo [x]"]), (Some(0), "x".to_owned()));
    let own = format!("'{}'", node.name());
    assert_eq!(erl_call(node.name(), &["-a", "erlang node"]), (Some(0), own));
}

fn rust_gets_values_and_exceptions(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for callee in Callee::of_both_kinds(&lab, release, RUST_NODE) {
        let name = callee.name().to_owned();
        inside(&node, async move |me| {
            let there = name.as_str();
            let own = me.pid().node;
            let sum: i64 = me.rpc(there, MODULE, "add", (40, 2), SOON).await?;
            assert_eq!(sum, 42);
            let sum: i64 = me.rpc(there, MODULE, "add", (40, 2), Duration::MAX).await?;
            assert_eq!(sum, 42);
            let everything = term("{[a | b], #{1 => <<2>>}, \"text\", -1.5, [[]], 'Ünï'}");
            let back: Term = me.rpc(there, MODULE, "echo", (&everything,), SOON).await?;
            assert_eq!(back, everything);
            let back: Term = me.rpc(there, MODULE, "echo", vec![everything.clone()], SOON).await?;
            assert_eq!(back, everything);
            let pid: Pid = me.rpc(there, MODULE, "me", (), SOON).await?;
            assert_eq!(pid.node.as_str(), there);
            let leader: Pid = me.rpc(there, MODULE, "leader", (), SOON).await?;
            assert_eq!(leader, me.group_leader());
            let big: Term = me.rpc(there, MODULE, "big", (10_000_000,), SOON).await?;
            assert!(matches!(&big, Term::Binary(bytes) if bytes.len() == 10_000_000));
            let size: usize = me.rpc(there, MODULE, "size", vec![big], SOON).await?;
            assert_eq!(size, 10_000_000);
            let wrong = me.rpc::<u64>(there, MODULE, "echo", (&everything,), SOON).await;
            assert!(matches!(wrong, Err(RpcError::Convert(_))), "{wrong:?}");

            let fail = async |class: &str| {
                let arguments = vec![term(class), term("{so, 1}")];
                me.rpc::<Term>(there, MODULE, "fail", arguments, SOON).await.unwrap_err()
            };
            assert_eq!(fail("throw").await, RpcError::Throw(term("{so, 1}")));
            assert_eq!(fail("exit").await, RpcError::Exit(term("{so, 1}")));
            let of_error = |error: RpcError| match error {
                RpcError::Error { reason, stack } => {
                    let Term::List(stack) = stack else { panic!("no stack: {stack}") };
                    (reason, stack[0].as_tuple().expect("a frame").to_vec())
                }
                other => panic!("{other:?}"),
            };
            let (reason, frame) = of_error(fail("error").await);
            assert_eq!(reason, term("{so, 1}"));
            assert_eq!(frame[..3], [term(MODULE), term("fail"), term("2")]);
            let (reason, frame) = of_error(fail("none").await);
            assert_eq!(reason, term("function_clause"));
            assert_eq!(frame[..2], [term(MODULE), term("fail")]);
            let undefined = me.rpc::<Term>(there, "no", "function", (1, "a"), SOON).await;
            let (reason, frame) = of_error(undefined.unwrap_err());
            assert_eq!(reason, term("undef"));
            assert_eq!(frame, [term("no"), term("function"), term("[1, <<\"a\">>]"), term("[]")]);
            let nowhere = me.rpc::<Term>("absent@127.0.0.1", MODULE, "me", (), SOON).await;
            assert_eq!(nowhere, Err(RpcError::NoConnection));

            let nodes = [Atom::new(there)?, Atom::from_static("absent@127.0.0.1"), own];
            let all = me.rpc_multicall::<i64>(&nodes, MODULE, "add", (1, 2), SOON).await;
            assert_eq!(all[..2], [Ok(3), Err(RpcError::NoConnection)]);
            // This node has no such function.
            assert!(
                matches!(&all[2], Err(RpcError::Error { reason, .. }) if *reason == term("undef"))
            );
            me.rpc_cast(there, MODULE, "tell", (me.pid(), "cast"))?;
            let (told, _, text): (Atom, Pid, String) = me.recv().await?.message()?;
            assert_eq!((told.as_str(), text.as_str()), ("told", "cast"));
            me.rpc_cast(there, "no", "function", ())?;
            me.rpc_cast("absent@127.0.0.1", MODULE, "me", ())?;
            // Whoever runs a call may be ended by others.
            let killer = me.spawn_link(|mut me| async move {
                let (_, held): (Atom, Pid) = me.recv().await?.message()?;
                me.exit(&held, &term("{so, 1}"));
                Ok(())
            })?;
            let ended = me.rpc::<Term>(there, MODULE, "hold", (&killer,), SOON).await;
            assert_eq!(ended, Err(RpcError::Signal(term("{so, 1}"))));
            gone(me, &killer).await?;
            Ok(())
        });
        let outside = node.rpc::<i64>(callee.name(), MODULE, "add", (40, 2), SOON).wait();
        assert_eq!(outside, Ok(42));
    }
    node.stop().wait();
}

/// Waits until a process has ended.
async fn gone(me: &mut Process, pid: &Pid) -> ProcessResult {
    let monitor = me.monitor(pid);
    match me.recv().await? {
        Signal::Down(down) if down.reference == monitor => Ok(()),
        other => panic!("not an end: {other:?}"),
    }
}

/// The process that a function says it runs in.
fn held(owner: &mut Mailbox) -> Pid {
    let signal = owner.recv_timeout(SOON).expect("the node runs").expect("it is called");
    let (held, pid): (Atom, Pid) = signal.message().expect("a pair");
    assert_eq!(held.as_str(), "held");
    pid
}

/// Waits until nobody monitors a process of an Erlang node.
fn nobody_waits_for(node: &Node, pid: &Pid) {
    let what = Term::Tuple(vec![term("monitored_by"), term("[]")]);
    until("the monitor is taken back", SOON, || {
        let arguments = vec![Term::Pid(pid.clone()), term("monitored_by")];
        let info = node.rpc::<Term>(pid.node.as_str(), "erlang", "process_info", arguments, SOON);
        (info.wait().expect("a value") == what).then_some(())
    });
}

fn rust_gives_calls_up(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for (of, callee) in Callee::of_both_kinds(&lab, release, RUST_NODE).iter().enumerate() {
        let mut owner = node.mailbox(None).wait().expect("a mailbox");
        let own = owner.pid();
        let name = callee.name().to_owned();
        inside(&node, async move |me| {
            let there = name.as_str();
            let late = me.rpc::<Term>(there, MODULE, "hold", (&own,), SHORT).await;
            assert_eq!(late, Err(RpcError::Timeout));
            // Before it can have been answered, or even begun.
            let mut call = Box::pin(me.rpc::<Term>(there, MODULE, "hold", (&own,), SOON));
            let begun = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
            assert!(begun);
            drop(call);
            assert_eq!(me.ties(), Ties::default());
            Ok(())
        });
        // The answer is dropped after the function has begun.
        let processes = node.processes().wait().len();
        let reply = node.rpc::<Term>(callee.name(), MODULE, "hold", (owner.pid(),), SOON);
        let begun: [Pid; 3] = std::array::from_fn(|_| held(&mut owner));
        drop(reply);
        until("the process that called ends", SOON, || {
            (node.processes().wait().len() == processes).then_some(())
        });
        for pid in begun {
            if of == 0 {
                nobody_waits_for(&node, &pid);
            }
            let monitor = owner.monitor(&pid).wait().expect("the node runs");
            owner.send_blocking(&pid, &term("{return, late}")).expect("it is sent");
            match owner.recv_timeout(SOON).expect("the node runs") {
                Some(Signal::Down(down)) => assert_eq!(down.reference, monitor),
                other => panic!("not an end: {other:?}"),
            }
        }
    }
    node.stop().wait();
}

fn nodes_end_while_rust_waits(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    for callee in Callee::of_both_kinds(&lab, release, RUST_NODE) {
        let mut owner = node.mailbox(None).wait().expect("a mailbox");
        let (own, name) = (owner.pid(), callee.name().to_owned());
        let outside = node.rpc::<Term>(&name, MODULE, "hold", (&own,), SOON);
        let killer = std::thread::spawn(move || {
            (0..3).for_each(|_| drop(held(&mut owner)));
            // As `kill -9` does.
            drop(callee);
        });
        inside(&node, async move |me| {
            let nodes = [Atom::new(&name)?, Atom::new(&name)?];
            let both = me.rpc_multicall::<Term>(&nodes, MODULE, "hold", (&own,), SOON).await;
            assert_eq!(both, [Err(RpcError::NoConnection), Err(RpcError::NoConnection)]);
            let gone = me.rpc::<Term>(&name, MODULE, "me", (), SOON).await;
            assert_eq!(gone, Err(RpcError::NoConnection));
            Ok(())
        });
        assert_eq!(outside.wait(), Err(RpcError::NoConnection));
        killer.join().expect("it kills");
    }
    node.stop().wait();
}

fn the_command_prints_values(release: Release) {
    let mut stage = Stage::new(release, RUST_NODE);
    let terms = [
        "ok",
        "'Ünï code'",
        "{a, [b | c], #{x => 1.5}}",
        "\"text\"",
        "[1, 2, 3]",
        "<<\"binary\">>",
        "<<1, 2, 3:5>>",
        "-1234567890123456789012345678901234567890",
        "[[], {}, #{}, <<>>, 0.1, -1.0e300]",
        "lists:seq(1, 100)",
        "[{list_to_atom(\"key\" ++ integer_to_list(N)), lists:seq(1, N)} || N <- lists:seq(1, 30)]",
        "#{N => {a_rather_long_atom, \"some text\", <<\"and bytes\">>} || N <- lists:seq(1, 3)}",
    ];
    let names: Vec<String> = stage.callees.iter().map(|of| of.name().to_owned()).collect();
    for text in terms {
        // Comprehensions of maps are newer than OTP 25.
        if release == Release::R25 && text.starts_with("#{N") {
            continue;
        }
        // What Erlang prints, as bytes; and the term as one that a user types.
        let said = |format: &str| {
            format!(
                "[0 | binary_to_list(unicode:characters_to_binary(io_lib:format(\"{format}\", [{text}])))]."
            )
        };
        let bytes = |said: String| {
            let numbers = said.trim_matches(['[', ']']).split(',').skip(1);
            let bytes: Vec<u8> = numbers.map(|byte| byte.parse().expect("a byte")).collect();
            String::from_utf8(bytes).expect("UTF-8")
        };
        let printed = bytes(stage.asker.eval(&said("~tp~n")));
        let typed = bytes(stage.asker.eval(&said("[~tw]")));
        for name in &names {
            let outcome = stage.lab.run(["call", name, MODULE, "echo", &typed, "--cookie", "c"]);
            let outcome = outcome.expect_code(0);
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (printed.as_str(), ""));
            let json = ["call", "--json", name, MODULE, "echo", &typed, "--cookie", "c"];
            let json: serde_json::Value =
                serde_json::from_str(&stage.lab.run(json).expect_code(0).stdout).expect("JSON");
            let value = json["value"].as_str().expect("a text");
            assert_eq!(term(value), term(&typed[1..typed.len() - 1]), "{text}");
        }
    }
    // What needs no function of ours; without arguments there are none.
    let node = stage.lab.krarup("n").start();
    for name in [&names[0], &names[1], &node.name().to_owned()] {
        let own = stage.lab.run(["call", name, "erlang", "node", "--cookie", "c"]).expect_code(0);
        assert_eq!(own.stdout, format!("'{name}'\n"));
        let own = stage.lab.run(["call", name, "erlang", "is_alive", "[].", "--cookie", "c"]);
        assert_eq!(own.expect_code(0).stdout, "true\n");
        // It connects as a hidden node.
        let hidden = stage.lab.run(["call", name, "erlang", "nodes", "[visible]", "--cookie", "c"]);
        assert!(!hidden.expect_code(0).stdout.contains("krarup-"));
    }
}

fn the_command_says_what_failed(release: Release) {
    let stage = Stage::new(release, RUST_NODE);
    for callee in &stage.callees {
        let name = callee.name();
        let failing = |function: &str, arguments: &str| {
            let call = ["call", name, MODULE, function, arguments, "--cookie", "c"];
            let outcome = stage.lab.run(call).expect_code(1);
            assert_eq!(outcome.stdout, "");
            outcome.stderr
        };
        assert_eq!(failing("fail", "[throw, {a, 1}]"), "throw: {a,1}\n");
        assert_eq!(failing("fail", "[exit, {a, 1}]"), "exit: {exception,{a,1}}\n");
        let error = failing("fail", "[error, {a, 1}]");
        assert!(error.starts_with("error: {exception,{a,1},[{krarup_callee,fail,2,["), "{error}");
        let undef = failing("nothing", "[1, two]");
        assert!(undef.starts_with("error: {exception,undef,[{krarup_callee,nothing,[1,two],["));

        let json = ["call", name, MODULE, "fail", "[throw, \"x\"]", "--json", "--cookie", "c"];
        let json: serde_json::Value =
            serde_json::from_str(&stage.lab.run(json).expect_code(1).stdout).expect("JSON");
        assert_eq!(json, serde_json::json!({ "class": "throw", "error": "\"x\"" }));

        for wrong in ["{not, a, list}", "[unfinished", "1", "[a | b]", "Variable"] {
            let outcome = stage.lab.run(["call", name, MODULE, "echo", wrong, "--cookie", "c"]);
            let outcome = outcome.expect_code(2);
            assert_eq!(outcome.stdout, "");
            assert!(outcome.stderr.contains("one list"), "{wrong}: {outcome:?}");
        }
        let module = if name.starts_with('o') { "timer" } else { "krarup" };
        let late = ["call", name, module, "sleep", "[5000]", "--timeout", "1", "--cookie", "c"];
        let outcome = stage.lab.run(late).expect_code(1);
        assert_eq!(outcome.stderr, "error: {erpc,timeout}\n");
        let wrong_cookie = ["call", name, MODULE, "me", "--cookie", "wrong"];
        let outcome = stage.lab.run(wrong_cookie).expect_code(1);
        assert!(outcome.stderr.contains("{erpc,noconnection}"), "{outcome:?}");
    }
    let nobody = ["call", "absent@127.0.0.1", MODULE, "me", "--cookie", "c"];
    let outcome = stage.lab.run(nobody).expect_code(1);
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("{erpc,noconnection}"));
    for arguments in [
        ["call", "no-node", "m", "f"],
        ["call", "a@127.0.0.1", "m", "--json"],
        ["call", "a@127.0.0.1", "--json", "--hidden"],
    ] {
        let outcome = stage.lab.run(arguments).expect_code(2);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.is_empty(), "{outcome:?}");
    }
}

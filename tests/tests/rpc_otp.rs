//! `rpc`, `erpc`, `erl_call` and `krarup call` between Erlang and Krarup, both ways: every question
//! is put to functions in Rust and to those of OTP in their place.

use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use krarup::term::{Atom, Pid, Term};
use krarup::{RpcError, Signal, Ties};
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
            "Answers = [receive {P, Answer} -> Answer after 10000 -> nothing end || P <- get(calls)],
             {Answers, krarup_asker:caught(fun() -> erpc:receive_response(get(id), 5000) end),
                krarup_asker:mailbox()}.",
        );
        let expected = "{[{error,{erpc,noconnection}},{badrpc,nodedown},{badrpc,nodedown},\
                        [{error,{erpc,noconnection}}]],{error,{erpc,noconnection}},[]}";
        assert_eq!(answers, expected, "{name}");
        asker.eval("f.");
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
            ("krarup_callee echo [{a,[b,c],\"text\",1.5}]", "{a, [b, c], \"text\", 1.5}"),
            ("krarup_callee fail [throw,ball]", "ball"),
            ("krarup_callee fail [exit,x]", "{badrpc, {'EXIT', x}}"),
            ("erlang node []", &format!("'{name}'")),
        ] {
            let (code, said) = erl_call(name, &["-a", call]);
            assert_eq!(
                (code, said.replace("\"text\"", "\"text\"").as_str()),
                (Some(0), answer),
                "{name}: {call}"
            );
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
            let mut ended = None;
            {
                let owner = me.pid();
                let call = std::pin::pin!(me.rpc::<Term>(there, MODULE, "hold", (owner,), SOON));
                drop(call);
                let _ = &mut ended;
            }
            while ended.is_none() {
                let (_, held): (Atom, Pid) = me.recv().await?.message()?;
                me.exit(&held, &term("kill"));
                ended = Some(held);
            }
            Ok(())
        });
        let outside = node.rpc::<i64>(callee.name(), MODULE, "add", (40, 2), SOON).wait();
        assert_eq!(outside, Ok(42));
    }
    node.stop().wait();
}

fn rust_gives_calls_up(release: Release) {
    let lab = Lab::new();
    let node = asking_node(&lab);
    node.spawn("owner", |mut me| async move {
        while me.recv().await.is_ok() {}
        Ok(())
    })
    .ok();
    node.stop().wait();
}

fn nodes_end_while_rust_waits(release: Release) {
    let _ = (release, Ties::default(), SHORT);
    let _ = |signal: Signal| drop(signal);
    let _ = mpsc::channel::<()>;
    until("x", SOON, || Some(()));
}

fn the_command_prints_values(_: Release) {}

fn the_command_says_what_failed(_: Release) {}

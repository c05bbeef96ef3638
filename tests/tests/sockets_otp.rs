//! The options of a node's connections, asked for and set by an Erlang node: a Krarup node answers
//! as an Erlang node of the same release, but for what is listed here.

use std::time::Duration;

use krarup_tests::{Lab, OtpNode, Release, for_each_release, until};

for_each_release!(
    options_are_set_and_read_as_otp_does,
    options_of_connections_to_come_leave_the_others_alone
);

const SOON: Duration = Duration::from_secs(30);

/// Asks both nodes about their connection to the one that asks.
const ASK: &str = "
    Ask = fun(N, F, A) ->
        try erpc:call(N, net_kernel, F, A)
        catch error:{exception, E, _} -> {raised, E}; C:R -> {C, R}
        end
    end,
    Both = fun({F, A}) -> [Ask(N, F, A) || N <- ['a@127.0.0.1', 'o@127.0.0.1']] end,
    Me = node(),
";

/// Calls that both answer in one way; their order counts.
const SAME: &str = "
    [{setopts, [Me, L]} || L <- [[], [{keepalive,false}], [{linger,{false,0}}], [{priority,0}]]] ++
    lists:append([[{setopts, [Me, [{K, V}]]}, {getopts, [Me, [K]]}] || {K, V} <- [
        {nodelay,false}, {nodelay,true}, {nodelay,1}, {nodelay,foo}, {keepalive,true},
        {sndbuf,100000}, {sndbuf,0}, {sndbuf,300000}, {recbuf,100000}, {buffer,65536}, {buffer,4096},
        {priority,3}, {tos,16}, {tos,0}, {dontroute,false}, {linger,{false,0}}, {linger,true},
        {linger,{true,5}}, {reuseaddr,true}, {reuseaddr,false}, {send_timeout,5000},
        {send_timeout,infinity}, {send_timeout,-1}, {send_timeout,foo}, {send_timeout_close,true},
        {send_timeout_close,1}, {delay_send,true}, {delay_send,false}, {high_watermark,10000},
        {low_watermark,5000}, {show_econnreset,true}, {show_econnreset,false}, {tclass,8}, {foo,1},
        {\"nodelay\",true}, {1,2}]]) ++
    [{getopts, [Me, L]} || L <- [[], [foo], [nodelay,foo], [nodelay,tclass], [nodelay,nodelay],
        [\"nodelay\"], [active,deliver,packet], [{raw,6,1,4}], [{raw,6,1,<<0>>}], [{raw,6,1,0}],
        [{raw,1,2}], [binary], foo, [linger,tos,send_timeout]]] ++
    [{setopts, [Me, L]} || L <- [[{active,true}], [{active,false}], [{deliver,port}], [{packet,4}],
        [{active,true},{nodelay,true},{packet,4},{foo,1}], [nodelay], [foo], [1], [{nodelay}],
        [{nodelay,true,3}], [{keepalive,false},{foo,1}], [{keepalive,false},active], foo,
        [{raw,6,1,<<0:32>>}], [{raw,6,1}], [{raw,6,1,1}]]] ++
    [{getopts, [Me, [keepalive, nodelay]]}] ++
    lists:append([[{setopts, [Me, L]}, {getopts, [Me, [tos, priority]]}] || L <- [
        [{tos,16}], [{priority,3},{tos,8}], [{tos,16},{priority,6}], [{tos,0},{priority,0}]]]) ++
    [{F, [N, L]} || N <- ['x@127.0.0.1', 1, \"a\"], F <- [setopts, getopts],
        L <- [[], [foo], [{active,true}], [{nodelay,true}]]] ++
    [{getopts, [new, [nodelay]]}, {setopts, [new, []]}, {setopts, [new, [{foo,1}]]},
     {setopts, [new, [foo]]}, {setopts, [new, [{active,true},{foo,1}]]}, {setopts, [new, foo]}]
";

/// Calls that a Krarup node answers in a way of its own, with its answers. OTP passes over what
/// the kernel refuses and cuts numbers off; lets the conversion of what it reads be changed, which
/// does not exist here; and knows fewer names.
const OWN: &[(&str, &str)] = &[
    ("{setopts, [Me, [{sndbuf,-1}]]}", "{error,einval}"),
    ("{setopts, [Me, [{tos,256}]]}", "{error,einval}"),
    ("{setopts, [Me, [{buffer,0}]]}", "{error,einval}"),
    ("{setopts, [Me, [{linger,{true,-5}}]]}", "{error,einval}"),
    ("{setopts, [Me, [{dontroute,true}]]}", "{error,einval}"),
    ("{setopts, [Me, [{raw,6,999,<<0:32>>}]]}", "{error,einval}"),
    ("{setopts, [Me, [binary]]}", "{error,einval}"),
    ("{setopts, [Me, [{mode,binary}]]}", "{error,einval}"),
    ("{getopts, [Me, [mode]]}", "{error,einval}"),
    ("{setopts, [Me, [{quickack,true},{notsent_lowat,16384}]]}", "ok"),
    (
        "{getopts, [Me, [notsent_lowat,{raw,6,25,4}]]}",
        "{ok,[{notsent_lowat,16384},{raw,6,25,<<0,64,0,0>>}]}",
    ),
    ("{setopts, [Me, [{congestion,\"reno\"},{user_timeout,9000},{keepidle,60}]]}", "ok"),
    (
        "{getopts, [Me, [congestion,user_timeout,keepidle]]}",
        "{ok,[{congestion,\"reno\"},{user_timeout,9000},{keepidle,60}]}",
    ),
    // The kernel keeps the seconds of a linger that is off, and OTP shows them.
    ("{setopts, [Me, [{linger,{false,0}}]]}", "ok"),
    ("{getopts, [Me, [linger]]}", "{ok,[{linger,{false,0}}]}"),
    // All or none, and the reason of the kernel.
    ("{setopts, [Me, [{keepidle,70},{sndbuf,9000},{congestion,\"nosuch\"}]]}", "{error,enoent}"),
    ("{getopts, [Me, [keepidle,sndbuf]]}", "{ok,[{keepidle,60},{sndbuf,600000}]}"),
    ("{setopts, [Me, [{fragment_size,8192},{spin_us,5}]]}", "ok"),
    ("{getopts, [Me, [fragment_size,spin_us]]}", "{ok,[{fragment_size,8192},{spin_us,5}]}"),
    ("{setopts, [Me, [{profile,wan}]]}", "ok"),
    (
        "{getopts, [Me, [keepalive,user_timeout,notsent_lowat,spin_us]]}",
        "{ok,[{keepalive,true},{user_timeout,30000},{notsent_lowat,131072},{spin_us,0}]}",
    ),
    ("{setopts, [Me, [{profile,fast}]]}", "{error,einval}"),
    // With these OTP's connection, or all of it, does not survive.
    ("{getopts, [Me, [nodelay|sndbuf]]}", "{error,einval}"),
    ("{setopts, [Me, [{nodelay,true}|foo]]}", "{error,einval}"),
    ("{setopts, [new, [{raw,6,12,<<1:32/native>>}]]}", "{error,einval}"),
    ("{setopts, [new, [binary]]}", "{error,einval}"),
];

/// Evaluated by itself: what one binds is not there for the next.
fn question(expressions: &str) -> String {
    format!("(fun() -> {ASK} _ = {{Ask, Both, Me}}, {expressions} end)().")
}

/// An Erlang node `b`, with a Krarup node `a` and an Erlang node `o` to ask.
fn three(release: Release) -> (Lab, krarup_tests::Process, OtpNode, OtpNode) {
    let lab = Lab::new();
    let krarup = lab.rust_node(env!("CARGO_BIN_EXE_rust-node"), "a");
    let model = lab.otp(release, "o").start();
    let asker = lab.otp(release, "b").start();
    (lab, krarup, model, asker)
}

fn options_are_set_and_read_as_otp_does(release: Release) {
    let (_lab, _krarup, _model, mut asker) = three(release);
    let differences = asker.eval_within(
        &question(&format!("[{{C, B}} || C <- ({SAME}), [K, O] = B <- [Both(C)], K =/= O]")),
        SOON,
    );
    assert_eq!(differences, "[]", "the answers differ");
    for (call, answer) in OWN {
        let own = asker.eval(&question(&format!("{{F, A}} = {call}, Ask('a@127.0.0.1', F, A)")));
        assert_eq!(own, *answer, "{call}");
    }
    // Erlang nodes put fragments of any size together, also of a size that changes meanwhile.
    let large = "Large = binary:copy(<<1,2,3>>, 1000000),
        Echo = fun() -> erpc:call('a@127.0.0.1', krarup, echo, [Large]) =:= Large end,
        Asked = [begin
            R = erpc:send_request('a@127.0.0.1', krarup, echo, [Large]),
            ok = Ask('a@127.0.0.1', setopts, [Me, [{fragment_size,Size}]]),
            {R, Size}
        end || Size <- [4096, 65536, 10000]],
        [Echo() | [erpc:receive_response(R) =:= Large || {R, _} <- Asked]]";
    assert_eq!(asker.eval_within(&question(large), SOON), "[true,true,true,true]");
    assert_eq!(asker.eval("net_adm:ping('a@127.0.0.1')."), "pong");
}

fn options_of_connections_to_come_leave_the_others_alone(release: Release) {
    let (_lab, _krarup, _model, mut asker) = three(release);
    let both = |asker: &mut OtpNode, call: &str| {
        let answers = asker.eval(&question(&format!("[A, B] = Both({call}), {{A, B, A =:= B}}")));
        assert!(answers.ends_with(",true}"), "{call}: {answers}");
        answers
    };
    let names = "{getopts, [Me, [nodelay,linger,priority,send_timeout]]}";
    let before = both(&mut asker, names);
    both(
        &mut asker,
        "{setopts, [new, [{nodelay,false},{priority,3},{linger,{true,5}},{send_timeout,9}]]}",
    );
    assert_eq!(both(&mut asker, names), before, "those that are up stay as they are");
    for node in ["a@127.0.0.1", "o@127.0.0.1"] {
        assert_eq!(asker.eval(&format!("erlang:disconnect_node('{node}').")), "true");
        until("a new connection", SOON, || {
            (asker.eval(&format!("net_kernel:connect_node('{node}').")) == "true").then_some(())
        });
    }
    let after = both(&mut asker, names);
    assert!(
        after.contains("[{nodelay,false},{linger,{true,5}},{priority,3},{send_timeout,9}]"),
        "{after}"
    );
    // Later ones win by name, and others stay.
    both(&mut asker, "{setopts, [new, [{linger,{false,0}}]]}");
    assert_eq!(both(&mut asker, names), after);
}

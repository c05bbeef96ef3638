%% What a BEAM needs to write and to read the terms of src/codec/terms.rs.
-module(krarup_bench_codec).
-export([run/2]).

run(#{term := Name, direction := Direction, warm_up_ns := WarmUp, duration_ns := Duration}, Order) ->
    {go, _} = Order(),
    Term = term(Name),
    Work = case Direction of
        encode -> {encode, Term};
        decode -> {decode, term_to_binary(Term)}
    end,
    {Main, Monitor} = {self(), make_ref()},
    %% A fresh process: its heap grows to what the work needs and stays there.
    spawn_link(fun() ->
        {Warm, _} = until(Work, now_ns() + WarmUp, 1, 0, now_ns()),
        Start = now_ns(),
        {Count, End} = until(Work, Start + Duration, 1, 0, Start),
        Main ! {Monitor, Count, Warm + Count, End - Start}
    end),
    receive {Monitor, Count, Total, Elapsed} ->
        krarup_bench_worker:event(
            "{\"event\":\"measured\",\"samples\":[],\"count\":~b,\"total\":~b,\"elapsed_ns\":~b}",
            [Count, Total, Elapsed])
    end,
    stop = Order(),
    halt(0).

now_ns() -> erlang:monotonic_time(nanosecond).

%% Batches grow until the clock is read about once a millisecond.
until(Work, Deadline, Batch, Done, Before) ->
    many(Work, Batch),
    case now_ns() of
        Now when Now >= Deadline -> {Done + Batch, Now};
        Now when Now - Before < 1000000 -> until(Work, Deadline, Batch * 2, Done + Batch, Now);
        Now -> until(Work, Deadline, Batch, Done + Batch, Now)
    end.

%% Each result is looked at, or the compiler would leave the work out.
many({encode, Term}, N) -> encode(Term, N, 0);
many({decode, Binary}, N) -> decode(Binary, N, none).

encode(_, 0, Bytes) -> Bytes;
encode(Term, N, Bytes) -> encode(Term, N - 1, Bytes bxor byte_size(erlang:term_to_binary(Term))).

decode(_, 0, Last) -> Last;
decode(Binary, N, _) -> decode(Binary, N - 1, erlang:binary_to_term(Binary)).

%% A pid and a reference of another node, as those of a message that came from there.
term(gen_call) ->
    Node = <<119, 16, "client@127.0.0.1">>,
    Pid = binary_to_term(<<131, 88, Node/binary, 117:32, 3:32, 1763625600:32>>),
    Reference = binary_to_term(<<131, 90, 3:16, Node/binary, 1763625600:32, 262211:32,
                                 2621964290:32, 3140688416:32>>),
    {'$gen_call', {Pid, [alias | Reference]}, {get, <<"some_key">>, 42}};
term(tuples) ->
    [{item, I, I * 0.5, iolist_to_binary(["name ", integer_to_list(I)])}
     || I <- lists:seq(0, 999)];
term(map) ->
    maps:from_list([{list_to_atom("key_" ++ integer_to_list(I)),
                     list_to_atom("value_" ++ integer_to_list(I))} || I <- lists:seq(0, 99)]);
term(binary) -> binary:copy(<<7>>, 1 bsl 20).

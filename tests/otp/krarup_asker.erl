%% What nodes need that ask others (`krarup_callee`), and that these do not have.
-module(krarup_asker).
-export([closure/0, caught/1, brief/1, mailbox/0, down/1, calls/3, answers/1, tags_kept/2]).
-export([abandoned/2, until/2, printed/1]).

%% A function of a module that no other node has.
closure() ->
    fun() -> here end.

%% What a function gives, or how it fails.
caught(Fun) ->
    try
        Fun()
    catch
        Class:Reason -> {Class, brief(Reason)}
    end.

%% Without the lines below the first one of a stack trace, and without files and numbers.
brief([{M, F, A, Place} | _]) when is_atom(M), is_atom(F), is_list(Place) ->
    [{M, F, arity(A)}];
brief(Tuple) when is_tuple(Tuple) ->
    list_to_tuple([brief(Element) || Element <- tuple_to_list(Tuple)]);
brief(Other) ->
    Other.

%% OTP shows the arguments of some functions that fail.
arity(Arguments) when is_list(Arguments) -> length(Arguments);
arity(Arity) -> Arity.

%% Everything that has come so far.
mailbox() ->
    receive
        Message -> [Message | mailbox()]
    after 0 -> []
    end.

%% How a process ends that is monitored.
down(Ref) ->
    receive
        {'DOWN', Ref, process, _, Reason} -> brief(Reason)
    after 10000 -> {still_alive, mailbox()}
    end.

%% Processes that call a server each, and wait for ever.
calls(Server, Request, Count) ->
    [
        spawn_monitor(fun() ->
            exit({outcome, caught(fun() -> gen_server:call(Server, Request, infinity) end)})
        end)
     || _ <- lists:seq(1, Count)
    ].

answers(Calls) ->
    [
        receive
            {'DOWN', Ref, process, Pid, {outcome, Outcome}} -> Outcome;
            {'DOWN', Ref, process, Pid, Other} -> {other, Other}
        after 10000 -> nothing
        end
     || {Pid, Ref} <- Calls
    ].

%% Calls a server with tags of one's own. Returns those that do not come back as they were.
tags_kept(Server, Tags) ->
    [
        {Tag, Got}
     || Tag <- Tags,
        Got <- [
            begin
                Server ! {'$gen_call', {self(), Tag}, {echo, {about, Tag}}},
                receive
                    Message -> Message
                after 10000 -> nothing
                end
            end
        ],
        Got =/= {Tag, {about, Tag}}
    ].

%% Asks for a linked process and gives the request up before it is answered: how the process ends.
abandoned(Node, Left) when Left > 0 ->
    Ref = spawn_request(Node, krarup_callee, hold_trapping, [self()], [link]),
    case spawn_request_abandon(Ref) of
        true ->
            exited();
        false ->
            receive
                {spawn_reply, Ref, ok, Pid} -> unlink(Pid), exit(Pid, again)
            end,
            again = exited(),
            abandoned(Node, Left - 1)
    end.

exited() ->
    Me = self(),
    receive
        {held, Pid} ->
            receive
                {exited, Pid, Me, Reason} -> Reason
            after 10000 -> {nothing, mailbox()}
            end
    after 10000 -> {nothing, mailbox()}
    end.

%% Asks again and again until the answer is as wanted.
until(Ask, Wanted) ->
    until(Ask, Wanted, erlang:monotonic_time(millisecond) + 10000).

until(Ask, Wanted, End) ->
    case Ask() of
        Wanted ->
            ok;
        Other ->
            erlang:monotonic_time(millisecond) < End orelse error({never, Wanted, last, Other}),
            receive
            after 10 -> until(Ask, Wanted, End)
            end
    end.

%% The value of a function, and all that it and those who run for it print.
printed(Fun) ->
    Before = group_leader(),
    Printer = spawn_link(fun() -> printer([]) end),
    group_leader(Printer, self()),
    Value =
        try
            Fun()
        after
            group_leader(Before, self())
        end,
    Printer ! {self(), printed},
    receive
        {Printer, Printed} -> {Value, Printed}
    after 5000 -> {Value, nothing}
    end.

printer(Printed) ->
    receive
        {io_request, From, As, {put_chars, _, Chars}} ->
            From ! {io_reply, As, ok},
            printer([Printed, Chars]);
        {io_request, From, As, {put_chars, _, M, F, A}} ->
            From ! {io_reply, As, ok},
            printer([Printed, apply(M, F, A)]);
        {From, printed} ->
            From ! {self(), unicode:characters_to_list(Printed)}
    end.

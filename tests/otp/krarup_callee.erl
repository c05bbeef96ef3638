%% What nodes that are called offer: a server, and functions with every outcome. Krarup nodes have the
%% same in Rust (`callee.rs`), so that one question can be asked of either.
-module(krarup_callee).
-export([start/1, start_old_style/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([add/2, echo/1, fail/2, big/1, size/1, leader/0, me/0, hold/1, hold_trapping/1, tell/2]).
-export([print/1, report/4]).

%% The server, registered under a name.
start(Name) ->
    gen_server:start({local, Name}, krarup_callee, [], []).

init([]) ->
    {ok, []}.

handle_call({echo, Term}, _, Waiting) ->
    {reply, Term, Waiting};
handle_call(pid, _, Waiting) ->
    {reply, self(), Waiting};
%% Answered when everybody is.
handle_call(later, From, Waiting) ->
    {noreply, [From | Waiting]};
handle_call(waiting, _, Waiting) ->
    {reply, length(Waiting), Waiting};
handle_call({stop, Reason, Reply}, _, Waiting) ->
    {stop, Reason, Reply, Waiting};
handle_call({leave, Reason}, _, _) ->
    exit(Reason).

handle_cast({tell, To, Term}, Waiting) ->
    To ! Term,
    {noreply, Waiting};
handle_cast({answer_all, Term}, Waiting) ->
    [gen_server:reply(From, Term) || From <- lists:reverse(Waiting)],
    {noreply, []};
handle_cast({stop, Reason}, Waiting) ->
    {stop, Reason, Waiting}.

handle_info({tell, To, Term}, Waiting) ->
    To ! {info, Term},
    {noreply, Waiting};
handle_info(_, Waiting) ->
    {noreply, Waiting}.

terminate(_, _) ->
    ok.

%% A server that knows nothing of aliases: answers go to the pid. `{late, Request}` is answered when
%% the next one has come.
start_old_style(Name) ->
    spawn(fun() ->
        register(Name, self()),
        old_style([])
    end).

old_style(Late) ->
    receive
        {'$gen_call', From, {late, Request}} ->
            old_style([{From, Request} | Late]);
        {'$gen_call', From, Request} ->
            [Pid ! {Tag, Answer} || {{Pid, Tag}, Answer} <- [{From, Request} | Late]],
            old_style([])
    end.

add(A, B) when is_integer(A), is_integer(B) ->
    A + B.

echo(Term) ->
    Term.

fail(throw, Reason) -> throw(Reason);
fail(exit, Reason) -> exit(Reason);
fail(error, Reason) -> error(Reason).

big(Bytes) ->
    binary:copy(<<7>>, Bytes).

size(Binary) ->
    byte_size(Binary).

leader() ->
    group_leader().

me() ->
    self().

%% Says that it runs, and ends as it is told.
hold(Owner) ->
    Owner ! {held, self()},
    receive
        {return, Value} -> Value;
        {throw, Value} -> throw(Value);
        {exit, Reason} -> exit(Reason);
        {error, Reason} -> error(Reason)
    end.

%% Says that it runs, and tells of the first exit.
hold_trapping(Owner) ->
    process_flag(trap_exit, true),
    Owner ! {held, self()},
    receive
        {'EXIT', From, Reason} -> Owner ! {exited, self(), From, Reason}
    end.

tell(To, Term) ->
    To ! {told, self(), Term},
    ok.

print(Text) ->
    io:put_chars(Text).

%% Calls a function and tells somebody its value.
report(To, Module, Function, Arguments) ->
    To ! {reported, self(), apply(Module, Function, Arguments)}.

%% Functions for other nodes to call. Krarup nodes have the same ones in Rust.
-module(krarup_functions).
-export([zero/0, add/2, give/1, fail/2, say/2, await/1]).

zero() ->
    0.

add(A, B) when is_integer(A), is_integer(B) ->
    A + B.

give(Term) ->
    Term.

fail(error, Reason) -> error(Reason);
fail(exit, Reason) -> exit(Reason);
fail(throw, Reason) -> throw(Reason).

say(To, Term) ->
    To ! {self(), Term},
    Term.

await(From) ->
    From ! self(),
    receive
        Term -> Term
    end.

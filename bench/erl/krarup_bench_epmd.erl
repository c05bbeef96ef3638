%% Stands in for epmd inside the BEAM nodes of a measurement: the coordinator tells each node its
%% peer's port, so no name server is started and none that runs on this host is touched.
-module(krarup_bench_epmd).
-export([start_link/0, register_node/2, register_node/3, port_please/2, port_please/3,
         address_please/3, listen_port_please/2, names/1, own_port/0, learn/2]).

start_link() -> ignore.

register_node(Name, Port) -> register_node(Name, Port, inet).
register_node(_Name, Port, _Driver) ->
    persistent_term:put({krarup_bench_epmd, own}, Port),
    {ok, rand:uniform(16#fffffff)}.

listen_port_please(_Name, _Host) -> {ok, 0}.

address_please(_Name, Host, Family) -> inet:getaddr(Host, Family).

port_please(Name, Host) -> port_please(Name, Host, infinity).
port_please(Name, _Host, _Timeout) ->
    case persistent_term:get({krarup_bench_epmd, to_text(Name)}, undefined) of
        undefined -> noport;
        Port -> {port, Port, 6}
    end.

names(_Host) -> {error, address}.

%% The port this node listens on; 0 where it is registered with a real epmd instead.
own_port() -> persistent_term:get({krarup_bench_epmd, own}, 0).

%% Remembers where a node listens.
learn(Node, Port) ->
    [Name | _] = string:split(atom_to_list(Node), "@"),
    persistent_term:put({krarup_bench_epmd, Name}, Port).

to_text(Name) when is_atom(Name) -> atom_to_list(Name);
to_text(Name) -> Name.

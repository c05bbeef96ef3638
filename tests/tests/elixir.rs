//! A Krarup node as Elixir sees it, through `Node`, `Process` and `GenServer`.

use std::time::Duration;

use krarup_tests::{ElixirNode, KrarupNode, Lab, Release};

const SOON: Duration = Duration::from_secs(10);

/// A Krarup node with the stock services and an Elixir node that knows its name as `there`.
fn pair(lab: &Lab) -> (KrarupNode, ElixirNode) {
    let krarup = lab.krarup("a").start();
    let mut elixir = lab.elixir("e");
    elixir.eval(&format!("there = :\"{}\"", krarup.name()));
    (krarup, elixir)
}

#[test]
fn elixir_connects_and_is_told_when_the_node_goes() {
    if ElixirNode::is_missing() {
        return;
    }
    let lab = Lab::new();
    let (krarup, mut elixir) = pair(&lab);
    assert_eq!(elixir.eval("Node.connect(there)"), "true");
    assert_eq!(elixir.eval("Node.list() == [there]"), "true");
    assert_eq!(elixir.eval("Node.ping(there)"), ":pong");
    assert_eq!(elixir.eval("Node.disconnect(there)"), "true");
    assert_eq!(elixir.eval("Node.ping(there)"), ":pong");
    assert_eq!(elixir.eval("Node.monitor(there, true)"), "true");
    elixir.eval("ref = Process.monitor({:echo, there})");
    krarup.stop();
    assert_eq!(
        elixir.eval(
            "receive do {:DOWN, ^ref, :process, object, why} -> {object == {:echo, there}, why}
             after 5000 -> :timeout end"
        ),
        "{true, :noconnection}"
    );
    let wait = "receive do {:nodedown, node} -> node == there after 5000 -> :timeout end";
    assert_eq!(elixir.eval(wait), "true");
    elixir.eval_until("Node.list()", "[]", SOON);
}

#[test]
fn elixir_sends_and_receives_its_own_terms() {
    if ElixirNode::is_missing() {
        return;
    }
    let lab = Lab::new();
    let (_krarup, mut elixir) = pair(&lab);
    let terms =
        "[nil, true, %{name: \"Ägir\", range: 1..9//2, date: ~D[2024-02-29]}, 'text', ~r/a/,
        {:ok, self()}, &String.upcase/1, fn x -> x end, <<1::3>>, 1.0e300, MapSet.new([1])]";
    assert_eq!(
        elixir.eval(&format!(
            "terms = {terms}
             send({{:echo, there}}, {{self(), terms}})
             receive do {{:echo, back}} -> back == terms after 5000 -> :timeout end"
        )),
        "true"
    );
}

/// What there is not, as an Erlang node without Elixir in Krarup's place answers it.
#[test]
fn elixir_gets_the_answers_of_an_erlang_node() {
    if ElixirNode::is_missing() || Release::R25.is_missing() {
        return;
    }
    let lab = Lab::new();
    let (krarup, mut elixir) = pair(&lab);
    let model = lab.otp(Release::R25, "o").start();
    elixir.eval(
        "catching = fn ask ->
            try do ask.() catch kind, reason -> {kind, reason} end
         end
         down = fn {pid, ref} ->
            receive do {:DOWN, ^ref, :process, ^pid, why} -> why after 5000 -> :timeout end
         end",
    );
    let questions = [
        "GenServer.call({:net_kernel, node}, {:is_auth, node()}, 5000)",
        "GenServer.call({:nobody, node}, :request, 5000)",
        "GenServer.cast({:nobody, node}, :request)",
        "GenServer.multi_call([node], :nobody, :request, 5000)",
        "GenServer.abcast([node], :nobody, :request)",
        "GenServer.whereis({:nobody, node})",
        "down.(Node.spawn_monitor(node, Nobody, :run, [1, :two]))",
        "{_, [{fun, [], []}]} = down.(Node.spawn_monitor(node, KrarupPeer.fun()))
         is_function(fun, 0)",
        "Process.flag(:trap_exit, true)
         pid = Node.spawn_link(node, Nobody, :run, [])
         receive do {:EXIT, ^pid, why} -> why after 5000 -> :timeout end",
        ":erpc.call(node, Nobody, :run, [1], 5000)",
        ":erpc.multicall([node], Nobody, :run, [1], 5000)",
        ":rpc.call(node, Nobody, :run, [1], 5000)",
        "Process.exit(Node.spawn(node, Nobody, :run, []), :kill)",
        "ref = Process.monitor({:nobody, node})
         receive do {:DOWN, ^ref, :process, object, why} -> {object, why} after 5000 -> :timeout end",
        "try do
            Task.Supervisor.async({:nobody, node}, Nobody, :run, [])
         catch
            :exit, {why, _} -> why
         end",
        "Agent.get({:nobody, node}, Nobody, :run, [])",
    ];
    for question in questions {
        let mut ask = |name: &str| {
            let ask = format!(
                "ask = fn node -> catching.(fn -> {question} end) end
                 ask.(:\"{name}\")"
            );
            elixir.eval(&ask).replace(name, "N")
        };
        let expected = ask(model.name());
        assert_eq!(ask(krarup.name()), expected, "{question}");
    }
}

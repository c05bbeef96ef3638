//! A Krarup node as Elixir sees it, through `Node`, `Process` and `GenServer`.

use std::error::Error;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::gen_server::{Answer, Caller, serve};
use krarup::term::{Pid, Term};
use krarup::{CallError, Cookie, GenServer, Node, Process, ProcessResult, Raise};
use krarup_tests::{ElixirNode, KrarupNode, Lab, Release};
use serde::{Deserialize, Serialize};

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

/// A server in Rust, and what it can be asked.
struct Counter {
    count: i64,
    waiting: Vec<Caller>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Add(i64),
    Later,
    Stop(Term),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Add(i64),
    AnswerAll,
}

impl GenServer for Counter {
    type Call = Ask;
    type Reply = i64;
    type Cast = Tell;

    async fn call(
        &mut self,
        _: &mut Process,
        request: Ask,
        from: &Caller,
    ) -> Result<Answer<i64>, Box<dyn Error>> {
        match request {
            Ask::Add(number) => {
                self.count += number;
                Ok(Answer::Reply(self.count))
            }
            Ask::Later => {
                self.waiting.push(from.clone());
                Ok(Answer::Later)
            }
            Ask::Stop(reason) => Ok(Answer::Stop(reason, self.count)),
        }
    }

    async fn cast(&mut self, me: &mut Process, request: Tell) -> ProcessResult {
        match request {
            Tell::Add(number) => self.count += number,
            Tell::AnswerAll => {
                for caller in self.waiting.drain(..) {
                    caller.reply(me, &("later", self.count)).await?;
                }
            }
        }
        Ok(())
    }
}

async fn count(me: Process) -> ProcessResult {
    serve(me, Counter { count: 0, waiting: Vec::new() }).await
}

#[derive(Deserialize, Serialize)]
struct Point {
    x: f64,
    name: Option<String>,
}

/// A node in this process with a server and functions, and an Elixir node that knows its name.
fn rust_and_elixir(lab: &Lab) -> (Node, ElixirNode) {
    let node = Node::builder("rust@127.0.0.1")
        .cookie(Cookie::new("c").expect("this is a cookie"))
        .epmd(EpmdMode::External)
        .epmd_port(lab.epmd_port())
        .spin(Duration::ZERO)
        .start()
        .expect("the node starts");
    node.register_function("rust", "add", |_, (a, b): (i64, i64)| async move {
        a.checked_add(b).ok_or(Raise::error("system_limit"))
    });
    node.register_function("rust", "moved", |_, (point, by): (Point, f64)| async move {
        Ok(Point { x: point.x + by, ..point })
    });
    node.register_function("rust", "fail", |_, (class, reason): (String, Term)| async move {
        Err::<(), _>(match class.as_str() {
            "throw" => Raise::Throw(reason),
            "exit" => Raise::Exit(reason),
            _ => Raise::Error(reason),
        })
    });
    node.register_function("rust", "greet", |me, (to, greeting): (Pid, String)| async move {
        Ok(me.send(&to, &(me.pid(), greeting)).await?)
    });
    node.spawn("counter", count).expect("the name is free");
    let mut elixir = lab.elixir("e");
    elixir.eval("there = :\"rust@127.0.0.1\"; counter = {:counter, there}");
    (node, elixir)
}

#[test]
fn elixir_calls_a_server_in_rust() {
    if ElixirNode::is_missing() {
        return;
    }
    let lab = Lab::new();
    let (node, mut elixir) = rust_and_elixir(&lab);
    assert_eq!(elixir.eval("GenServer.call(counter, {:add, 5})"), "5");
    assert_eq!(elixir.eval("GenServer.cast(counter, {:add, 2})"), ":ok");
    assert_eq!(elixir.eval("GenServer.call(counter, {:add, 0})"), "7");
    let several = "GenServer.multi_call([there], :counter, {:add, 1})
         |> then(fn {[{^there, count}], []} -> count end)";
    assert_eq!(elixir.eval(several), "8");
    // One that waits while others are answered.
    elixir.eval("waiting = Task.async(fn -> GenServer.call(counter, :later, 10_000) end)");
    elixir.eval("GenServer.call(counter, {:add, 1})");
    // Until the server has heard of it, nobody is answered.
    assert_eq!(
        elixir.eval(
            "answer = fn answer ->
                GenServer.cast(counter, :answer_all)
                Task.yield(waiting, 50) || answer.(answer)
             end
             answer.(answer)"
        ),
        "{:ok, {\"later\", 9}}"
    );
    // A request that it does not understand is answered.
    assert_eq!(
        elixir.eval(
            "{:error, {:bad_request, text}} = GenServer.call(counter, :nonsense); is_binary(text)"
        ),
        "true"
    );
    // Nothing comes of a call that was given up.
    let given_up = "catch_exit = try do GenServer.call(counter, :later, 50)
         catch :exit, {why, _} -> why end";
    assert_eq!(elixir.eval(given_up), ":timeout");
    elixir.eval("GenServer.cast(counter, :answer_all); GenServer.call(counter, {:add, 0})");
    assert_eq!(elixir.eval("receive do message -> message after 0 -> nil end"), "nil");
    // It ends as it is told, and those who wait learn it.
    assert_eq!(
        elixir.eval(
            "ref = Process.monitor(counter)
             waiting = Task.async(fn ->
                try do GenServer.call(counter, :later) catch :exit, {why, _} -> why end
             end)
             stopped = GenServer.call(counter, {:stop, {:shutdown, :enough}})
             {stopped, receive do {:DOWN, ^ref, :process, ^counter, why} -> why end}"
        ),
        "{9, {:shutdown, :enough}}"
    );
    let why = elixir.eval("Task.await(waiting)");
    assert!(["{:shutdown, :enough}", ":noproc"].contains(&why.as_str()), "{why}");
    for reason in [":normal", "{:shutdown, 7}"] {
        node.spawn("counter", count).expect("the name is free");
        let stop = format!(
            "ref = Process.monitor(counter)
             {{GenServer.stop(counter, {reason}, 5000),
              receive do {{:DOWN, ^ref, :process, ^counter, why}} -> why after 5000 -> nil end}}"
        );
        assert_eq!(elixir.eval(&stop), format!("{{:ok, {reason}}}"));
    }
    node.stop().wait();
}

#[test]
fn elixir_spawns_and_calls_functions_in_rust() {
    if ElixirNode::is_missing() {
        return;
    }
    let lab = Lab::new();
    let (node, mut elixir) = rust_and_elixir(&lab);
    let cases = [
        (":erpc.call(there, :rust, :add, [40, 2])", "42"),
        (":rpc.call(there, :rust, :add, [40, 2])", "42"),
        (":erpc.multicall([there, there], :rust, :add, [1, 2])", "[ok: 3, ok: 3]"),
        (
            ":erpc.call(there, :rust, :moved, [%{x: 1.5, name: \"p\"}, 2.0])",
            "%{name: \"p\", x: 3.5}",
        ),
        (
            "failing.(fn -> :erpc.call(there, :rust, :add, [40, :two]) end)",
            "{:error, {:exception, :function_clause, [{:rust, :add, 2, []}]}}",
        ),
        (
            "failing.(fn -> :erpc.call(there, :rust, :add, [40]) end)",
            "{:error, {:exception, :undef, [{:rust, :add, [40], []}]}}",
        ),
        (
            "failing.(fn -> :erpc.call(there, :rust, :fail, [\"throw\", :ball]) end)",
            "{:throw, :ball}",
        ),
        (
            "failing.(fn -> :erpc.call(there, :rust, :fail, [\"exit\", {:so, 1}]) end)",
            "{:exit, {:exception, {:so, 1}}}",
        ),
        (
            "failing.(fn -> :erpc.call(there, :rust, :fail, [\"error\", :badarith]) end)",
            "{:error, {:exception, :badarith, [{:rust, :fail, 2, []}]}}",
        ),
        (":rpc.call(there, :rust, :fail, [\"exit\", :gone])", "{:badrpc, {:EXIT, :gone}}"),
        (
            "pid = Node.spawn(there, :rust, :greet, [self(), \"hello\"])
             receive do {^pid, text} -> {node(pid) == there, text} after 5000 -> :timeout end",
            "{true, \"hello\"}",
        ),
        (
            "{pid, ref} = Node.spawn_monitor(there, :rust, :greet, [self(), \"again\"])
             {receive do {^pid, text} -> text after 5000 -> :timeout end,
              receive do {:DOWN, ^ref, :process, ^pid, why} -> why after 5000 -> :timeout end}",
            "{\"again\", :normal}",
        ),
        (
            "Process.flag(:trap_exit, true)
             pid = Node.spawn_link(there, :rust, :fail, [\"exit\", {:so, 1}])
             receive do {:EXIT, ^pid, why} -> why after 5000 -> :timeout end",
            "{:so, 1}",
        ),
        (
            "{_, ref} = Node.spawn_monitor(there, :rust, :fail, [\"error\", :oops])
             receive do {:DOWN, ^ref, _, _, {why, stack}} -> {why, hd(stack) |> elem(0)}
             after 5000 -> :timeout end",
            "{:oops, :rust}",
        ),
    ];
    elixir.eval("failing = fn f -> try do f.() catch kind, reason -> {kind, reason} end end");
    for (question, answer) in cases {
        assert_eq!(elixir.eval(question), answer, "{question}");
    }
    node.stop().wait();
}

#[test]
fn rust_calls_servers_and_functions_in_elixir() {
    if ElixirNode::is_missing() {
        return;
    }
    let lab = Lab::new();
    let (node, mut elixir) = rust_and_elixir(&lab);
    elixir.eval("{:ok, pid} = KrarupPeer.Counter.start(:counter)");
    let counter = ("counter", elixir.name().to_owned());
    let ask = |request: &Ask| node.call::<i64>(&counter, request, SOON).wait();
    assert_eq!(ask(&Ask::Add(5)), Ok(5));
    node.cast(&counter, &Ask::Add(2)).wait().expect("it is sent");
    assert_eq!(ask(&Ask::Add(0)), Ok(7));
    let later: (Term, i64) = node.call(&counter, &Ask::Later, SOON).wait().expect("an answer");
    assert_eq!((later.0.to_string(), later.1), ("later".to_owned(), 7));
    let reason = Term::Tuple(vec![Term::Integer(1), Term::Integer(2)]);
    assert_eq!(ask(&Ask::Stop(reason.clone())), Err(CallError::Ended(reason)));
    assert_eq!(ask(&Ask::Add(1)), Err(CallError::NoProcess));

    let upcase = |text: &str| {
        node.rpc::<String>(elixir.name(), "Elixir.String", "upcase", (text,), SOON).wait()
    };
    assert_eq!(upcase("größe").as_deref(), Ok("GRÖSSE"));
    node.stop().wait();
}

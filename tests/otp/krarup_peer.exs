# What the suites run inside an Elixir node: reads `NUMBER CODE` lines, the code in base64, and
# answers `@@krarup NUMBER ok|error RESULT` lines, until the harness closes its end. Bindings and the
# mailbox last from one line to the next.
defmodule KrarupPeer do
  def loop(binding) do
    case IO.gets("") do
      line when is_binary(line) ->
        [number, code] = String.split(line)
        {outcome, value, binding} = evaluate(Base.decode64!(code), binding)
        # On a line of its own, so that nothing a logger prints can run into it.
        IO.write("\n@@krarup #{number} #{outcome} #{print(value)}\n")
        loop(binding)

      _ ->
        System.halt(0)
    end
  end

  # A fun of compiled code, which no other node has.
  def fun, do: fn -> :here end

  defp evaluate(code, binding) do
    {value, binding} = Code.eval_string(code, binding)
    {:ok, value, binding}
  catch
    kind, reason -> {:error, {kind, reason, __STACKTRACE__}, binding}
  end

  defp print(value) do
    endless = [limit: :infinity, printable_limit: :infinity, width: :infinity]
    inspect(value, [charlists: :as_lists] ++ endless)
  end

  # A server of Elixir's kind, for others to call.
  defmodule Counter do
    use GenServer

    def start(name), do: GenServer.start(__MODULE__, 0, name: name)

    @impl true
    def init(count), do: {:ok, count}

    @impl true
    def handle_call({:add, number}, _from, count), do: {:reply, count + number, count + number}
    def handle_call(:later, from, count), do: {:noreply, count, {:continue, {:reply, from}}}
    def handle_call({:stop, reason}, _from, count), do: {:stop, reason, count}

    @impl true
    def handle_continue({:reply, from}, count) do
      GenServer.reply(from, {:later, count})
      {:noreply, count}
    end

    @impl true
    def handle_cast({:add, number}, count), do: {:noreply, count + number}
  end
end

KrarupPeer.loop([])

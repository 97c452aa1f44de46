defmodule Bench.Bridge do
  @moduledoc """
  Broadcasts what Redis publishes on `to:<topic>:<event>`. The payload is a fragment that the serializer splices in:
  it is neither parsed nor checked.
  """
  use GenServer

  def start_link(redis), do: GenServer.start_link(__MODULE__, redis)

  @impl true
  def init(redis) do
    {:ok, pubsub} = Redix.PubSub.start_link(redis)
    {:ok, ref} = Redix.PubSub.psubscribe(pubsub, "to:*", self())

    receive do
      {:redix_pubsub, ^pubsub, ^ref, :psubscribed, _} -> {:ok, nil}
    end
  end

  @impl true
  def handle_info({:redix_pubsub, _, _, :pmessage, %{channel: "to:" <> name, payload: payload}}, state) do
    {topic, event} = split(name)
    Bench.Endpoint.broadcast(topic, event, Jason.Fragment.new(payload))
    {:noreply, state}
  end

  def handle_info({:redix_pubsub, _, _, _, _}, state), do: {:noreply, state}

  # The event is what follows the last colon.
  defp split(name) do
    {at, 1} = name |> :binary.matches(":") |> List.last()
    {binary_part(name, 0, at), binary_part(name, at + 1, byte_size(name) - at - 1)}
  end
end

defmodule Bench.Channel do
  @moduledoc "Checks a token at each join, keeps presence if configured, publishes pushes to Redis and then answers them."
  use Phoenix.Channel, log_join: false, log_handle_in: false

  @impl true
  def join(topic, %{"token" => token}, socket) do
    case Bench.Token.verify(token, Application.fetch_env!(:bench, :secret)) do
      {:ok, %{"channel" => ^topic, "id" => id}} ->
        if Application.fetch_env!(:bench, :presence), do: send(self(), :joined)
        {:ok, assign(socket, :id, id)}

      _ ->
        {:error, %{reason: "unauthorized"}}
    end
  end

  @impl true
  def handle_info(:joined, socket) do
    {:ok, _} = Bench.Presence.track(socket, socket.assigns.id, %{})
    push(socket, "presence_state", Bench.Presence.list(socket))
    {:noreply, socket}
  end

  @impl true
  def handle_in(event, payload, socket) do
    command = ["PUBLISH", "from:#{socket.topic}:#{event}", Jason.encode_to_iodata!(payload)]
    {:ok, _} = Redix.command(Bench.Redis, command)
    {:reply, :ok, socket}
  end
end

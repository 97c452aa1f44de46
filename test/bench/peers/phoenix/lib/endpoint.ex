defmodule Bench.Endpoint do
  use Phoenix.Endpoint, otp_app: :bench

  # The generator sends no heartbeats.
  socket "/socket", Bench.Socket, websocket: [timeout: 3_600_000, check_origin: false], longpoll: false
end

defmodule Bench.Socket do
  use Phoenix.Socket, log: false

  channel "*", Bench.Channel

  @impl true
  def connect(_params, socket, _info), do: {:ok, socket}

  @impl true
  def id(_socket), do: nil
end

defmodule Bench.Presence do
  use Phoenix.Presence, otp_app: :bench, pubsub_server: Bench.PubSub, pool_size: 2
end

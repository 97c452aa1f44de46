defmodule Bench.Application do
  @moduledoc "Port, Redis, secret and whether presence is kept come from the environment: see `phoenix` in peers.ts."
  use Application

  @impl true
  def start(_type, _args) do
    port = String.to_integer(System.fetch_env!("BENCH_PORT"))
    redis = System.fetch_env!("BENCH_REDIS_URL")
    Application.put_env(:bench, :secret, System.fetch_env!("BENCH_SECRET"))
    Application.put_env(:bench, :presence, System.get_env("BENCH_PRESENCE") == "1")
    Application.put_env(:phoenix, :json_library, Jason)

    Application.put_env(:bench, Bench.Endpoint,
      adapter: Bandit.PhoenixAdapter,
      http: [ip: {127, 0, 0, 1}, port: port],
      pubsub_server: Bench.PubSub,
      server: true
    )

    children = [
      {Phoenix.PubSub, name: Bench.PubSub},
      Bench.Presence,
      {Redix, {redis, [name: Bench.Redis]}},
      {Bench.Bridge, redis},
      Bench.Endpoint
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Bench.Supervisor)
  end
end

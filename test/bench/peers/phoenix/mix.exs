defmodule Bench.MixProject do
  use Mix.Project

  def project do
    [
      app: :bench,
      version: "0.1.0",
      elixir: "~> 1.14",
      lockfile: Path.join(System.get_env("MIX_BUILD_PATH", "_build"), "mix.lock"),
      start_permanent: true,
      deps: deps()
    ]
  end

  def application, do: [mod: {Bench.Application, []}, extra_applications: [:crypto, :logger]]

  # 1.7: the last that runs on the Elixir of Debian 12.
  defp deps do
    [{:phoenix, "~> 1.7.24"}, {:bandit, "~> 1.7"}, {:jason, "~> 1.4"}, {:redix, "~> 1.5"}]
  end
end

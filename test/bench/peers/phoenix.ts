import { existsSync } from "node:fs";
import { join } from "node:path";
import { phoenix as dialect } from "../../../src/bench/phoenix-driver.ts";
import { freePort } from "../../integration/redis-process.ts";
import { CACHE, type Peer } from "../peer.ts";
import { launchOn, SECRET, type ServerOptions } from "../servers.ts";

/** The application, and where it is built: MIX_BUILD_PATH. */
export const SOURCE = join(import.meta.dir, "phoenix");
export const BUILT = join(CACHE, "phoenix");

/** Without the threads' waiting in a loop, which counts as CPU where there is little to do; nothing logged. */
const RUNTIME = "+sbwt none +sbwtdcpu none +sbwtdio none -logger level error -phoenix logger false";

function lacks(): string | null {
  if (Bun.which("elixir") === null)
    return "there is no elixir on the path: apt install elixir erlang-dev erlang-ssl";
  return existsSync(join(BUILT, "lib/bench/ebin"))
    ? null
    : "the Phoenix application is not built: npm run bench:peers";
}

/** An application of Phoenix on Bandit with a bridge of its own (peers/phoenix/): a token for each join, no presence. */
export const phoenix: Peer = {
  name: "phoenix",
  dialect,
  lacks,
  start: (options) => start(options, {}),
};

/** The same with Phoenix.Presence. */
export const phoenixWithPresence: Peer = {
  name: "phoenix+presence",
  dialect,
  only: ["joined", "presence"],
  most: { presence: 1 },
  lacks,
  start: (options) => start(options, { BENCH_PRESENCE: "1" }),
};

function start(options: ServerOptions, presence: Readonly<Record<string, string>>) {
  const port = freePort();
  const env = {
    ...options.env,
    LANG: "C.UTF-8",
    BENCH_PORT: String(port),
    BENCH_REDIS_URL: options.redisUrl,
    BENCH_SECRET: SECRET,
    ...presence,
  };
  const paths = ["lib/bench/consolidated", "lib/*/ebin"].flatMap((path) => ["-pa", join(BUILT, path)]);
  const run = ["--no-halt", "-e", "{:ok, _} = Application.ensure_all_started(:bench)"];
  return launchOn(port, "/socket/websocket", ["elixir", ...paths, "--erl", RUNTIME, ...run], { env });
}

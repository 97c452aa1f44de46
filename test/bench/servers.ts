import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Driver } from "../../src/bench/driver.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { pidListeningOn } from "../../src/bench/process-times.ts";
import { dialects } from "./dialects.ts";

/** Secret of the tokens that the generator mints and our server checks. Of no use to anyone. */
export const SECRET = "bench-secret-that-guards-nothing-0123456789";

export interface ServerOptions {
  readonly redisUrl: string;
  readonly env: Readonly<Record<string, string>>;
  /** Configuration file for our server, in this folder. */
  readonly config?: string;
  /** Folder for a CPU profile; the server then runs from source. */
  readonly profileInto: string | null;
  /** Called with what the server writes to its log. */
  readonly onLog?: (text: string) => void;
}

export interface RunningServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A server that can take part: made anew for each run, so that none begins with another scene's garbage. */
export interface Contender {
  readonly name: string;
  readonly dialect: Driver;
  /** Whether it has event groups. */
  readonly groups?: true;
  /** The scenes that it is for; all, where this is absent. */
  readonly only?: readonly string[];
  /** Rounds that it plays at most of a scene, where each takes it minutes; 0 where it has nothing of the kind. */
  readonly most?: Readonly<Record<string, number>>;
  start(options: ServerOptions): Promise<RunningServer>;
}

const ROOT = join(import.meta.dir, "../..");
export const BINARY = process.env.CHANNEL_BIN ?? join(ROOT, "dist/channel");
const LIMIT = join(import.meta.dir, "limit.ts");

export const limit: Contender = {
  name: "limit",
  groups: true,
  dialect: phoenix,
  start: (options) =>
    launch([...runtime(options), LIMIT, "--port", "0", "--redis-url", options.redisUrl], options),
};

/** The limit with tokens and presence: what a join of ours is to be held against. */
export const limitWithPresence: Contender = {
  name: "limit+presence",
  dialect: phoenix,
  only: ["joined", "presence"],
  start: (options) =>
    launch(
      [...runtime(options), LIMIT, "--port", "0", "--redis-url", options.redisUrl, "--presence", SECRET],
      options,
    ),
};

/** The limit once more: how far apart two equal servers come out is what a figure may be wrong by. */
export const twin: Contender = { ...limit, name: "limit-again" };

export const ours: Contender = {
  name: "ours",
  groups: true,
  dialect: phoenix,
  start: (options) => startOurs(options),
};

/** Ours with `slow = "latest"` for every channel. */
export const oursLatest: Contender = {
  ...ours,
  name: "ours-latest",
  only: ["conflate", "fan-out", "paced"],
  start: (options) => startOurs(options, ["--config", join(import.meta.dir, "latest.toml")]),
};

/** Ours with `history = 300` for every channel: what it costs to keep messages. */
export const oursHistory: Contender = {
  ...ours,
  name: "ours-history",
  only: ["fan-out", "own-channels"],
  start: (options) => startOurs(options, ["--config", join(import.meta.dir, "history.toml")]),
};

/** Ours with `trusted_json = true` for every channel: without the check of payloads, as the limit. */
export const oursTrusted: Contender = {
  ...ours,
  name: "ours-trusted",
  only: ["pages"],
  start: (options) => startOurs(options, ["--config", join(import.meta.dir, "trusted.toml")]),
};

/** Ours without presence, and without events for backends: what is left of a join. */
export const oursWithoutPresence: Contender = {
  ...ours,
  name: "ours-no-presence",
  only: ["joined"],
  start: (options) => startOurs(options, ["--config", join(import.meta.dir, "no-presence.toml")]),
};

/** Ours in so many processes on one port. */
export function oursWorkers(count: number): Contender {
  return {
    ...ours,
    name: `ours, ${count} workers`,
    start: (options) => startOurs(options, ["--workers", String(count)]),
  };
}

export function startOurs(options: ServerOptions, args: readonly string[] = []): Promise<RunningServer> {
  if (options.profileInto === null && !existsSync(BINARY)) {
    throw new Error(`${BINARY} is not there: make it with "npm run build"`);
  }
  const command = options.profileInto === null ? [BINARY] : [...runtime(options), join(ROOT, "src/main.ts")];
  return launch(
    [
      ...command,
      ...["serve", "--port", "0", "--redis-url", options.redisUrl],
      ...["--jwt-secret", SECRET, "--log-format", "json"],
      ...(options.config === undefined ? [] : ["--config", join(import.meta.dir, options.config)]),
      ...args,
    ],
    options,
  );
}

/** How long a server may take to notice that thousands have left. */
const LEAVING_MS = 2000;

/** A server that somebody else started on this machine, at `ws://host:port[/path]`, on the Redis named by `--redis-url`. */
export function stranger(name: string, url: string, dialect: Driver): Contender {
  return {
    name,
    dialect,
    start: async () => {
      const { protocol, port } = new URL(url);
      if (protocol !== "ws:") throw new Error(`${name}: the address must begin with ws://`);
      // Those who left still cost it something, which is not to be the next run's.
      return { url, pid: pidListeningOn(Number(port || 80)), stop: () => Bun.sleep(LEAVING_MS) };
    },
  };
}

/** A `--server name=[dialect+]ws://host:port[/path]`. Ends the process where it cannot be one. */
export function parseStranger(text: string): Contender {
  const [, name, speaks = "phoenix", url] = /^([^=]+)=(?:([^+:/]+)\+)?(ws:\/\/.+)$/.exec(text) ?? [];
  if (name === undefined || url === undefined || !URL.canParse(url)) {
    fail(`--server ${text}: name=ws://host:port is needed`);
  }
  const dialect = dialects.find((each) => each.name === speaks);
  if (dialect === undefined) {
    fail(
      `--server ${text}: no dialect is called ${speaks}: there are ${dialects.map((each) => each.name).join(", ")}`,
    );
  }
  return stranger(name, url, dialect);
}

/** What was asked for makes no sense: one line and no stack trace. */
export function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function runtime({ profileInto }: ServerOptions): string[] {
  if (profileInto === null) return [process.execPath];
  return [process.execPath, "--cpu-prof", "--cpu-prof-dir", profileInto];
}

const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

const START_MS = 10_000;
const STOP_MS = 10_000;

/** Starts a server and waits for the line of its log that has its address. */
export function launch(
  command: readonly string[],
  { env, onLog }: Pick<ServerOptions, "env" | "onLog">,
): Promise<RunningServer> {
  const found = Promise.withResolvers<string>();
  const server = spawn(command, env, (log, text) => {
    onLog?.(text);
    const url = /"url":"(http[^"]+)"/.exec(log)?.[1];
    if (url !== undefined) found.resolve(url.replace(/^http/, "ws"));
  });
  return whenReady(server, found.promise);
}

/** Starts a server that is ready when it accepts connections on `port`; its WebSockets are at `path`. */
export function launchOn(
  port: number,
  path: string,
  command: readonly string[],
  { env }: Pick<ServerOptions, "env">,
): Promise<RunningServer> {
  const server = spawn(command, env, () => {});
  return whenReady(
    server,
    accepts(port, server).then(() => `ws://127.0.0.1:${port}${path}`),
  );
}

interface Spawned {
  readonly child: Bun.Subprocess;
  /** Rejects with its log when the server ends. */
  readonly ended: Promise<never>;
  stop(): Promise<void>;
}

const LOG_CHARS = 64 * 1024;

/** @param onLog called with what has been logged so far (64 KB at most) and what is new, whenever something is logged */
function spawn(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  onLog: (log: string, text: string) => void,
): Spawned {
  const cwd = mkdtempSync(join(tmpdir(), "channel-bench-"));
  const child = Bun.spawn([...command], {
    cwd,
    env: { PATH: process.env.PATH ?? "", HOME: cwd, ...env },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  running.add(child);
  const read = async (): Promise<never> => {
    let log = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) {
      const text = decoder.decode(chunk, { stream: true });
      if (log.length < LOG_CHARS) log += text;
      onLog(log, text);
    }
    throw new Error(`${command.join(" ")} ended before it listened:\n${log}`);
  };
  const ended = read();
  // Every server ends, most of them when nobody waits for it any more.
  ended.catch(() => {});
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await child.exited;
    clearTimeout(timer);
    running.delete(child);
    rmSync(cwd, { recursive: true, force: true });
  };
  return { child, ended, stop };
}

async function whenReady({ child, ended, stop }: Spawned, url: Promise<string>): Promise<RunningServer> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("the server does not listen")), START_MS);
  try {
    return { url: await Promise.race([url, ended, late.promise]), pid: child.pid, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

const RETRY_MS = 20;

/** Resolves when the server accepts a connection on the port. */
async function accepts(port: number, { child, ended }: Spawned): Promise<void> {
  while (child.exitCode === null) {
    try {
      (await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } })).end();
      return;
    } catch {
      await Bun.sleep(RETRY_MS);
    }
  }
  await ended;
}

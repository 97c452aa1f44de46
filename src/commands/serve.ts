import { readFileSync } from "node:fs";
import { BusError } from "../bus/bus-error.ts";
import { type Config, type Loaded, loadConfig } from "../config/config.ts";
import { atMostOncePer, createLog, type Log, standardErrorHasColor } from "../log.ts";
import { reapOrphans } from "../process/orphans.ts";
import { createNotifier } from "../process/systemd-notify.ts";
import { startServer } from "../server.ts";
import type { Command } from "./command.ts";

/** `channel serve`: runs the server until a signal ends it. */
export const serve: Command = async ({ values }, { env, cwd, stderr }) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config, warnings } = loaded;
  const { logLevel: level, logFormat: format } = config;
  const log = createLog({ level, format, color: standardErrorHasColor(env) });
  const stray = catchStray(config, log, stderr);
  const signals = catchSignals(log);
  if (process.pid === 1) reapOrphans();
  let server: Awaited<ReturnType<typeof startServer>>;
  try {
    server = await startServer(config, log);
  } catch (error) {
    stderr(withoutSecrets(config, listenProblem(loaded, error) ?? oneLine(error)));
    return error instanceof BusError && error.code === "bad-address" ? 2 : 1;
  }
  stray.started();
  for (const warning of warnings) log.warn(warning);
  const notifier = createNotifier(env, log);
  notifier.ready(`listening on ${server.url}`);
  log.info("stopping", { signal: await signals.first });
  void notifier.stopping();
  try {
    await server.stop();
  } catch (error) {
    log.error("the server did not stop cleanly", { error: withoutSecrets(config, oneLine(error)) });
    return 1;
  }
  log.info("stopped");
  return 0;
};

const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * `first` resolves at the first signal that ends the server; a second SIGINT or SIGTERM ends the process at once. A second SIGHUP
 * does not: a closed terminal sends it twice, by the shell and by the kernel. What ends other programs by default is ignored.
 */
function catchSignals(log: Log): { readonly first: Promise<string> } {
  const { promise, resolve } = Promise.withResolvers<string>();
  let stopping = false;
  const stop = (signal: string): void => {
    stopping = true;
    resolve(signal);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(SIGNAL_CODES[signal]);
      stop(signal);
    });
  }
  if (!hangUpIsIgnored()) process.on("SIGHUP", stop);
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
    process.on(signal, () => log.info("signal ignored", { signal }));
  }
  return { first: promise };
}

/** Whether the process was started to outlive its terminal, as `nohup` does it. */
function hangUpIsIgnored(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false;
  }
}

/**
 * What nobody caught is an error of ours. Before the server listens it ends the process; afterwards it is logged and the
 * server goes on, since to stop would cut off every client for what went wrong with one.
 */
function catchStray(config: Config, log: Log, stderr: (line: string) => void): { started(): void } {
  let running = false;
  // By place, of which a program has a bounded number: one error in a hot path must not hide another, nor fill the disk.
  const tellers = new Map<string, (error: unknown) => void>();
  const tell = (error: unknown) => {
    const at = place(error);
    const told = tellers.get(at) ?? teller(at);
    tellers.set(at, told);
    told(error);
  };
  const teller = (at: string) => {
    let latest: unknown;
    const limited = atMostOncePer(1000, (times) => {
      log.error("unexpected error", { error: withoutSecrets(config, oneLine(latest)), at, times });
    });
    return (error: unknown) => {
      latest = error;
      limited();
    };
  };
  const caught = (error: unknown) => {
    if (running) return tell(error);
    stderr(withoutSecrets(config, oneLine(error)));
    process.exit(1);
  };
  process.on("uncaughtException", caught);
  process.on("unhandledRejection", caught);
  return {
    started() {
      running = true;
    },
  };
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use. End what listens there, or choose another with --port",
  EADDRNOTAVAIL: "this machine has no such address. --host 0.0.0.0 or :: listens on all that it has",
  EACCES: "permission denied. Ports below 1024 are for a proxy in front, or need CAP_NET_BIND_SERVICE",
  EAGAIN: "no DNS server answers for this name. --host takes an address of this machine, or its name",
  // What Bun makes of a host name that nobody knows.
  EINVAL: "no such host. --host takes an address of this machine, or its name",
};

/** Where it could not listen, who chose that address, and why, in words of our own; `null` where that was not the problem. */
function listenProblem(
  { config: { host, port }, sources }: Loaded & { readonly ok: true },
  error: unknown,
): string | null {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const problem = LISTEN_PROBLEMS[code];
  if (problem === undefined) return null;
  const variables = [sources.get("host"), sources.get("port")]
    .filter((origin) => origin?.source === "environment")
    .map((origin) => origin?.place);
  const by = variables.length === 0 ? "" : ` (from the environment: ${variables.join(", ")})`;
  return `cannot listen on ${host.includes(":") ? `[${host}]` : host}:${port}${by}: ${problem}`;
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replace(/\s*[\r\n]+\s*/g, " ");
}

/** Where an error was thrown: the first line of its stack that has a place. */
function place(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  return /^\s*at (.*)$/m.exec(stack)?.[1] ?? "unknown";
}

/** The words of a library may hold what it was given. */
function withoutSecrets(config: Config, text: string): string {
  const secrets = [
    config.jwtSecret,
    ...config.olderJwtSecrets.map(({ secret }) => secret),
    config.adminSecret,
    ...config.olderAdminSecrets,
  ];
  return secrets
    .reduce((rest, secret) => rest.replaceAll(secret, "********"), text)
    .replace(/(:\/\/[^\s:/@]*:)[^\s/]*@/g, "$1********@")
    .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, "********");
}

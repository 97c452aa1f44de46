import { readFileSync } from "node:fs";
import { BusError } from "../bus/bus-error.ts";
import { type Config, type Loaded, loadConfig } from "../config/config.ts";
import { atMostOncePer, createLog, type Log, standardErrorHasColor } from "../log.ts";
import { reapOrphans } from "../process/orphans.ts";
import { createNotifier } from "../process/systemd-notify.ts";
import { startServer } from "../server.ts";
import type { Command } from "./command.ts";

/** `channel serve`: runs the server until a signal stops it. */
export const serve: Command = async ({ values }, { env, cwd, stderr }) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config, warnings } = loaded;
  const { logLevel: level, logFormat: format } = config;
  const log = createLog({ level, format, color: standardErrorHasColor(env) });
  const uncaught = reportUncaught(config, log, stderr);
  const signals = catchSignals(log);
  if (process.pid === 1) reapOrphans();
  let server: Awaited<ReturnType<typeof startServer>>;
  try {
    server = await startServer(config, log);
  } catch (error) {
    stderr(withoutSecrets(config, listenProblem(loaded, error) ?? oneLine(error)));
    return error instanceof BusError && error.code === "bad-address" ? 2 : 1;
  }
  uncaught.started();
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
 * `first` resolves at the first SIGINT, SIGTERM or SIGHUP; a second SIGINT or SIGTERM exits at once. A second SIGHUP does not:
 * a closed terminal causes two, from the shell and the kernel. SIGUSR1 and SIGUSR2 are ignored.
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

/** Whether SIGHUP is ignored, as `nohup` sets it. */
function hangUpIsIgnored(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false;
  }
}

/**
 * Handles uncaught errors. Before the server listens they exit the process; afterwards they are logged and the server
 * continues, because exiting would disconnect every client.
 */
function reportUncaught(config: Config, log: Log, stderr: (line: string) => void): { started(): void } {
  let running = false;
  // Rate-limited by place in the code, so that a frequent error neither hides another nor fills the disk.
  const reporters = new Map<string, (error: unknown) => void>();
  const report = (error: unknown) => {
    const at = place(error);
    const reporter = reporters.get(at) ?? createReporter(at);
    reporters.set(at, reporter);
    reporter(error);
  };
  const createReporter = (at: string) => {
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
    if (running) return report(error);
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
  EADDRINUSE: "the port is in use. Stop the program that uses it, or choose another with --port",
  EADDRNOTAVAIL: "this machine does not have this address. --host 0.0.0.0 or :: listens on all addresses",
  EACCES:
    "permission denied. Ports below 1024 require CAP_NET_BIND_SERVICE; use a higher port behind a proxy",
  EAGAIN: "no DNS server answers for this name. --host must be an address or the name of this machine",
  // Bun reports this for an unknown host name.
  EINVAL: "no such host. --host must be an address or the name of this machine",
};

/** Why the server cannot listen, and the variables that set the address; `null` for other errors. */
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

/** Where an error was thrown: the first location in its stack. */
function place(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  return /^\s*at (.*)$/m.exec(stack)?.[1] ?? "unknown";
}

/** Masks secrets: messages of libraries may contain their input. */
function withoutSecrets(config: Config, text: string): string {
  const secrets = [
    config.jwtSecret,
    ...config.olderJwtSecrets.map(({ secret }) => secret),
    config.adminSecret,
    ...config.olderAdminSecrets,
    ...config.fleetSecrets,
  ];
  return secrets
    .reduce((rest, secret) => rest.replaceAll(secret, "********"), text)
    .replace(/(:\/\/[^\s:/@]*:)[^\s/]*@/g, "$1********@")
    .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, "********");
}

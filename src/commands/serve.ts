import { type Loaded, loadConfig } from "../config/config.ts";
import { workerCount } from "../config/workers.ts";
import { createLog, flushLog, type Log, standardErrorHasColor } from "../log.ts";
import { inherit } from "../process/inherit.ts";
import { reapOrphans } from "../process/orphans.ts";
import { ownCommand } from "../process/own-command.ts";
import { findPredecessor, type Predecessor } from "../process/predecessor.ts";
import { openSharedPort } from "../process/shared-port.ts";
import { catchSignals } from "../process/signals.ts";
import type { Successor } from "../process/successor.ts";
import { createNotifier, type Notifier } from "../process/systemd-notify.ts";
import { findSupervisor } from "../process/workers/supervisor-link.ts";
import { Reload } from "../reload.ts";
import { PROTOCOLS, type RunningServer, startServer } from "../server.ts";
import { Supervisor } from "../supervisor.ts";
import type { Command } from "./command.ts";
import { runWorker } from "./serve-worker.ts";
import { oneLine, reportUncaught, withoutSecrets } from "./uncaught.ts";

/** Time (ms) for a blocked standard error. */
const LOG_WAIT = 500;

const ORPHANED = "the server that this one was to replace has ended";

/** `channel serve`: runs the server until a signal or its successor ends it. */
export const serve: Command = async ({ values }, { env, cwd, stderr }) => {
  const supervisor = findSupervisor(process.env);
  if (supervisor !== null) return runWorker(supervisor, env, stderr);
  const command = ownCommand(env);
  const predecessor = findPredecessor(process.env);
  const fail = async (message: string, exitCode: number): Promise<number> => {
    stderr(message);
    await predecessor?.failed(message);
    return exitCode;
  };
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) return fail(loaded.message, loaded.exitCode);
  const received = (await predecessor?.handover) ?? null;
  if (received === null && predecessor !== null) return fail(ORPHANED, 1);
  const inherited = inherit(loaded.config, received);
  if (typeof inherited === "string") return fail(inherited, 1);
  const { config } = inherited;
  const { logLevel: level, logFormat: format } = config;
  const log = createLog({ level, format, color: standardErrorHasColor(env) });
  const uncaught = reportUncaught(config, log, stderr);
  const signals = catchSignals(log);
  if (inherited.handover.ignoresHangUp) signals.ignoreHangUp();
  if (process.pid === 1) reapOrphans();
  let reload: Reload | null = null;
  let server: RunningServer;
  const count = workerCount(config);
  const start = {
    replaces: predecessor !== null,
    mayListen: async () => predecessor?.subscribed(),
    reload: async () => (await reload?.run()) ?? { ok: false, reason: "the server is still starting" },
  } as const;
  try {
    const { fleetSecret } = inherited.handover;
    server =
      count === 1
        ? await startServer(config, log, PROTOCOLS, {
            ...{ ...start, fleetSecret, sharesPort: start.replaces, worker: null },
          })
        : await Supervisor.start({ ...start, ...inherited, count, log, env });
  } catch (error) {
    const message = withoutSecrets(config, listenProblem(loaded, error) ?? oneLine(error));
    return fail(message, isBadAddress(error) ? 2 : 1);
  }
  uncaught.started();
  for (const warning of loaded.warnings) log.warn(warning);
  const notifier = createNotifier(env, log);
  const handover = { ...inherited.handover, port: server.port };
  reload = new Reload({
    log,
    env,
    command,
    notifier,
    handover,
    predecessor,
    bus: server.busKind,
    subscribed: () => server.succeeded(),
    port: async () => (server instanceof Supervisor ? server.sharedPort() : openSharedPort(server.port)),
  });
  signals.hangUp = () => void reload?.run();
  if (predecessor === null) notifier.ready(`listening on ${server.url}`);
  else {
    // Its log lines come before those of the process that it replaces.
    await flushLog(LOG_WAIT);
    predecessor.serving(server.url);
  }
  const successor = await Promise.race([reload.replaced, orphaned(predecessor, log), signals.first]);
  try {
    await end(server, successor, reload, notifier, log);
  } catch (error) {
    log.error("the server did not stop cleanly", { error: withoutSecrets(config, oneLine(error)) });
    return 1;
  }
  return 0;
};

/** Resolves if the server that this one was to replace ends before; it is then not known whether another one takes its place. */
async function orphaned(predecessor: Predecessor | null, log: Log): Promise<null> {
  if ((await predecessor?.confirmed) !== false) return new Promise(() => {});
  log.error(ORPHANED);
  return null;
}

/** @param why a signal, the process that has replaced this one, or `null` */
async function end(
  server: RunningServer,
  why: string | Successor | null,
  reload: Reload,
  notifier: Notifier,
  log: Log,
): Promise<void> {
  if (typeof why === "object" && why !== null) {
    log.info("stopping", { replaced_by: why.pid });
    await server.stop(() => why.release());
    log.info("stopped", { pid: process.pid });
    return;
  }
  reload.cancel();
  log.info("stopping", why === null ? {} : { signal: why });
  if (why !== null) void notifier.stopping();
  await server.stop();
  log.info("stopped");
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

/** Whether the address of the bus is invalid: a restart does not help. */
function isBadAddress(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "bad-address";
}

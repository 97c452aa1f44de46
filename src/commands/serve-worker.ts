import { createLog, type Log, standardErrorHasColor, withFields } from "../log.ts";
import { openSharedPort } from "../process/shared-port.ts";
import { removeMachineFolder } from "../process/workers/machine-folder.ts";
import type { WorkerStart } from "../process/workers/messages.ts";
import type { SupervisorLink } from "../process/workers/supervisor-link.ts";
import { PROTOCOLS, type RunningServer, startServer } from "../server.ts";
import { createWorkerParts } from "../worker.ts";
import type { CommandContext } from "./command.ts";
import { oneLine, reportUncaught, withoutSecrets } from "./uncaught.ts";

const NOT_SHARED = "this system does not let several processes listen on one port: set workers = 1";

/** Runs one worker of a machine until its supervisor, a signal or the end of the supervisor ends it. */
export async function runWorker(
  link: SupervisorLink,
  env: CommandContext["env"],
  stderr: (line: string) => void,
): Promise<number> {
  const signal = firstSignal();
  const start = await link.start;
  if (start === null) return 1;
  const { config } = start;
  const { logLevel: level, logFormat: format } = config;
  const log = withFields(createLog({ level, format, color: standardErrorHasColor(env) }), {
    worker: start.number,
  });
  const uncaught = reportUncaught(config, log, stderr);
  let server: RunningServer;
  try {
    server = await serve(start, link, log);
  } catch (error) {
    await link.failed(withoutSecrets(config, oneLine(error)), codeOf(error));
    return 1;
  }
  uncaught.started();
  link.serving(server.url, server.port);
  const why = await Promise.race([link.stop, signal]);
  if (why === "ended") log.error("the supervisor has ended, this worker stops");
  try {
    if (why === "replaced") await server.stop(link.released);
    else await server.stop();
  } catch (error) {
    log.error("the worker did not stop cleanly", { error: withoutSecrets(config, oneLine(error)) });
    return 1;
  }
  if (why === "ended") removeMachineFolder(start.folder);
  return 0;
}

async function serve(start: WorkerStart, link: SupervisorLink, log: Log): Promise<RunningServer> {
  const { config, handover, replaces, sharesPort } = start;
  const fleetSecret = handover.fleetSecret ?? "";
  // Workers are a fleet, also where no secret is configured.
  const fleetSecrets = config.fleetSecrets.length > 0 ? config.fleetSecrets : [fleetSecret];
  const server = await startServer({ ...config, fleetSecrets }, log, PROTOCOLS, {
    ...{ replaces, sharesPort, fleetSecret },
    worker: createWorkerParts(start, link),
    mayListen: link.subscribed,
    reload: link.reload,
  });
  link.prepare = server.succeeded;
  link.yieldTo = async (to) => (await openSharedPort(server.port, to))?.yield() ?? false;
  link.reclaim = () => void openSharedPort(server.port).then((port) => port?.release());
  if (sharesPort || (await openSharedPort(server.port))?.share() === true) return server;
  await server.stop();
  throw new Error(NOT_SHARED);
}

/**
 * Resolves at SIGTERM or SIGINT. A terminal, and some service managers, send them to all processes: later ones, and SIGHUP, are left
 * to the supervisor.
 */
function firstSignal(): Promise<"signal"> {
  const { promise, resolve } = Promise.withResolvers<"signal">();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => resolve("signal"));
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {});
  return promise;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

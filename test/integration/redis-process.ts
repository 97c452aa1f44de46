import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A real `redis-server` on a loopback port of its own: no persistence, an empty folder, ended with the test process. */
export interface RedisProcess {
  readonly port: number;
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** Process id of the current server; changes with `restart`. */
  readonly pid: number;
  /** Sends a signal: `SIGSTOP` and `SIGCONT` freeze and thaw, `SIGKILL` is a crash. */
  kill(signal: NodeJS.Signals): void;
  /** Resolves when the server has ended, for any reason. */
  ended(): Promise<void>;
  /** Starts the server again on the same port, after `kill` or `down`; resolves when it accepts connections. */
  restart(): Promise<void>;
  /** Ends the server and keeps port and folder for `restart`. */
  down(): Promise<void>;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

const READY = "Ready to accept connections";
const TRIES = 5;
const START_MS = 60_000;

type Server = Bun.Subprocess<"ignore", "pipe", "pipe">;

const running = new Set<Server>();
process.on("exit", () => {
  for (const server of running) server.kill("SIGKILL");
});

/**
 * Starts a Redis; `args` are further arguments of `redis-server` (`["--maxclients", "10"]`) and override those here.
 * Resolves when it accepts connections; throws what the server printed if it ends instead.
 */
export async function startRedis(args: readonly string[] = []): Promise<RedisProcess> {
  const folder = mkdtempSync(join(tmpdir(), "channel-redis-"));
  let port = freePort();
  let server: Server | null = null;
  for (let tries = 1; server === null; tries++) {
    try {
      server = await launch(port, folder, args);
    } catch (error) {
      // Another process may have bound the port since it was picked.
      if (tries === TRIES) {
        rmSync(folder, { recursive: true, force: true });
        throw error;
      }
      port = freePort();
    }
  }
  let current = server;
  const end = async (): Promise<void> => {
    // SIGKILL: nothing has to be saved, and a stopped process handles no other signal.
    current.kill("SIGKILL");
    await current.exited;
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return current.pid;
    },
    kill: (signal) => current.kill(signal),
    ended: async () => {
      await current.exited;
    },
    restart: async () => {
      await end();
      current = await launch(port, folder, args);
    },
    down: end,
    stop: async () => {
      await end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Ports that are no client's: systems take those of outgoing connections from 32,768 up. Redis takes 10,000 more for a cluster. */
const FIRST_PORT = 10_000;
const PORTS = 12_000;

/** The ports that were given out. */
const given = new Set<number>();

/** A loopback port that was free when checked, another one each time, which no outgoing connection takes meanwhile. */
export function freePort(): number {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (given.has(port) || !isFree(port)) continue;
    given.add(port);
    return port;
  }
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}

async function launch(port: number, folder: string, args: readonly string[]): Promise<Server> {
  const server: Server = Bun.spawn(
    [
      "redis-server",
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
      // The limit of Redis would log a warning, which would disturb tests of the log. On a busy machine a server reads late.
      ...["--client-output-buffer-limit", "pubsub 1gb 1gb 60"],
      ...["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "", "--loglevel", "notice"],
      ...args,
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  running.add(server);
  void server.exited.then(() => running.delete(server));
  const timer = setTimeout(() => server.kill("SIGKILL"), START_MS);
  try {
    await untilReady(server);
  } finally {
    clearTimeout(timer);
  }
  return server;
}

/** Reads what the server prints for as long as it runs, so that a full pipe never stops it. */
function untilReady(server: Server): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  void (async () => {
    let printed = "";
    const decoder = new TextDecoder();
    for await (const chunk of server.stdout) {
      if (printed.length > 64 * 1024) continue;
      printed += decoder.decode(chunk, { stream: true });
      if (printed.includes(READY)) resolve();
    }
    const errors = await new Response(server.stderr).text();
    reject(new Error(`redis-server ended before it was ready:\n${printed}${errors}`));
  })();
  return promise;
}

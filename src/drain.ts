import type { Config } from "./config/config.ts";
import type { Connection } from "./hub/connection.ts";
import type { Connections } from "./hub/connections.ts";

/** Pause (ms) between two batches of connections that are closed, and the smallest batch. */
const BATCH_PAUSE = 100;
const MIN_BATCH = 100;

/** The smallest batch (clients) during a reload: the successor answers each one before many others follow. */
const MIN_RELOAD_BATCH = 20;

/** Time (ms) for the last clients to read what was sent to them. */
const LAST_WAIT = 1500;

/** Disconnects all clients before the server stops: in batches over `shutdown_grace`, so that they do not reconnect at once. */
export class Drain {
  /** Whether the server is about to stop: `/ready` fails, clients still connect. */
  started = false;
  /** Whether new clients are rejected. */
  closing = false;
  /** Whether a successor has replaced this server: clients that come back find it on the same port. */
  replaced = false;
  readonly #config: Pick<Config, "drainDelay" | "shutdownGrace">;
  readonly #connections: Connections;

  constructor(config: Pick<Config, "drainDelay" | "shutdownGrace">, connections: Connections) {
    this.#config = config;
    this.#connections = connections;
  }

  /** Resolves when all clients are gone, or `LAST_WAIT` after the last batch. @param closed called when new clients are rejected */
  async run(closed: () => void): Promise<void> {
    this.started = true;
    const { drainDelay, shutdownGrace } = this.#config;
    if (drainDelay > 0 && !this.replaced) await Bun.sleep(drainDelay);
    this.closing = true;
    closed();
    const connections = [...this.#connections.all()];
    const batches = Math.max(1, Math.floor(shutdownGrace / BATCH_PAUSE));
    const size = Math.max(
      this.replaced ? MIN_RELOAD_BATCH : MIN_BATCH,
      Math.ceil(connections.length / batches),
    );
    const end = performance.now() + shutdownGrace;
    /** Those that wait for the answers of backends are closed when they have them, or at the end. */
    let waiting: Connection[] = [];
    for (let at = 0; at < connections.length; at += size) {
      if (at > 0) await Bun.sleep(BATCH_PAUSE);
      for (const connection of [...waiting.splice(0), ...connections.slice(at, at + size)]) {
        if (connection.awaitsAnswers) waiting.push(connection);
        else close(connection);
      }
    }
    while (waiting.length > 0 && performance.now() < end) {
      await Bun.sleep(BATCH_PAUSE);
      for (const connection of waiting) if (!connection.awaitsAnswers) close(connection);
      waiting = waiting.filter((each) => each.awaitsAnswers);
    }
    for (const connection of waiting) close(connection);
    for (let waited = 0; this.#connections.size > 0 && waited < LAST_WAIT; waited += BATCH_PAUSE) {
      await Bun.sleep(BATCH_PAUSE);
    }
  }
}

function close(connection: Connection): void {
  connection.draining();
  connection.abandonCalls?.();
  connection.close(1012, "server restarting");
}

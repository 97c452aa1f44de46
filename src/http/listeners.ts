import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Server } from "bun";
import { isLoopback } from "../config/config.ts";

/** How many ports are tried where the system picks one that has to be free on several addresses. */
const TRIES = 10;

/** What is different for each address. */
export interface Where {
  readonly hostname: string;
  readonly port: number;
  readonly reusePort: false;
}

/** The addresses that one server listens on, all with one port. */
export interface Listeners {
  readonly port: number;
  /** As `publish` of Bun's server, for the sockets of all addresses; the worst result of those with a subscriber. */
  publish(topic: string, frame: string | Buffer): number;
  /** Closes connections that were answered and wait for another request; how many. */
  closeIdleConnections(): number;
  /** Takes no more connections; with `true` it ends those that there are, too. */
  stop(closeActiveConnections?: boolean): Promise<void>;
}

/**
 * Listens on `host`; a loopback name is every loopback address that it has. Throws the runtime's error with a `code`
 * where it cannot listen, `EADDRINUSE` where one of the addresses is in use.
 */
export async function listen<T>(
  host: string,
  port: number,
  serve: (where: Where) => Server<T>,
): Promise<Listeners> {
  const addresses = await addressesOf(host);
  for (let tries = 1; ; tries++) {
    const servers: Server<T>[] = [];
    try {
      for (const hostname of addresses) {
        try {
          // The runtime shares a port by default: a second server would take half of the connections.
          servers.push(serve({ hostname, port: servers[0]?.port ?? port, reusePort: false }));
        } catch (error) {
          // A name in /etc/hosts may have an IPv6 address that the kernel has not.
          if (codeOf(error) !== "EADDRNOTAVAIL" || (servers.length === 0 && hostname === addresses.at(-1)))
            throw error;
        }
      }
      return together(servers);
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop(true)));
      if (port !== 0 || codeOf(error) !== "EADDRINUSE" || tries === TRIES) throw error;
    }
  }
}

async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0 || !isLoopback(host)) return [host];
  try {
    const found = (await lookup(host, { all: true })).map(({ address }) => address);
    const loopback = [...new Set(found)].filter(isLoopback);
    return loopback.length > 0 ? loopback : [host];
  } catch {
    // What it means is said where it is used.
    return [host];
  }
}

function together<T>(servers: readonly Server<T>[]): Listeners {
  const [first] = servers;
  if (first === undefined) throw new Error("no address to listen on");
  const stop = async (now?: boolean): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop(now)));
  };
  const port = first.port ?? 0;
  const closeIdleConnections = (): number =>
    servers.reduce((closed, server) => closed + server.closeIdleConnections(), 0);
  if (servers.length === 1) {
    return {
      port,
      publish: (topic, frame) => first.publish(topic, frame),
      closeIdleConnections,
      stop,
    };
  }
  return {
    port,
    publish(topic, frame) {
      let worst = Number.POSITIVE_INFINITY;
      for (const server of servers) {
        // Zero is both "dropped" and "no subscriber".
        if (server.subscriberCount(topic) === 0) continue;
        const sent = server.publish(topic, frame);
        if (sent === 0 || worst === 0) worst = 0;
        else worst = Math.min(worst, sent);
      }
      return worst === Number.POSITIVE_INFINITY ? 0 : worst;
    },
    closeIdleConnections,
    stop,
  };
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

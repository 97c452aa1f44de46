import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Server } from "bun";
import { isLoopback } from "../config/config.ts";

/** Maximum number of ports tried if the system selects one (port 0) that must be free on several addresses. */
const TRIES = 10;

/** Options of Bun.serve that differ by address. */
export interface ListenOptions {
  readonly hostname: string;
  readonly port: number;
  readonly reusePort: boolean;
}

/** All listening sockets of this server, with one port. */
export interface Listeners {
  readonly port: number;
  /** As `publish` of Bun's server, over all addresses. Returns the worst result of those with a subscriber. */
  publish(topic: string, frame: string | Buffer): number;
  /** Closes kept-alive connections without a request. Returns their number. */
  closeIdleConnections(): number;
  /** Stops accepting connections; with `true` also closes the open ones. */
  stop(closeActiveConnections?: boolean): Promise<void>;
}

/**
 * Listens on `host`; for a loopback name, on all its loopback addresses.
 *
 * @param shared whether another process that allows it listens on the port too
 * @throws Error of the runtime with a `code`, such as `EADDRINUSE`
 */
export async function listen<T>(
  host: string,
  port: number,
  shared: boolean,
  serve: (options: ListenOptions) => Server<T>,
): Promise<Listeners> {
  const addresses = await addressesOf(host);
  for (let tries = 1; ; tries++) {
    const servers: Server<T>[] = [];
    try {
      for (const hostname of addresses) {
        try {
          // By default Bun shares a port: a second server would get half of the connections.
          servers.push(serve({ hostname, port: servers[0]?.port ?? port, reusePort: shared }));
        } catch (error) {
          // /etc/hosts may list an IPv6 address although IPv6 is disabled.
          if (codeOf(error) !== "EADDRNOTAVAIL" || (servers.length === 0 && hostname === addresses.at(-1)))
            throw error;
        }
      }
      return combine(servers);
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
    // The server reports the error when it listens.
    return [host];
  }
}

function combine<T>(servers: readonly Server<T>[]): Listeners {
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
        // 0 means both dropped and no subscriber.
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

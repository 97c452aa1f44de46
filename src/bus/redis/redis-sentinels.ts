import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { Redis } from "ioredis";
import { type RedisAddress, showHost } from "./redis-address.ts";
import { pauseBefore } from "./redis-connection.ts";

/** Published by a Sentinel after a failover: `<name> <old host> <port> <new host> <port>`. */
const SWITCHED = "+switch-master";

/**
 * Subscribes to the Sentinels for a change of master. A master that is replaced while running keeps answering for about
 * ten seconds, and what is published there is lost. (ioredis has this too, but prints to the console for each unreachable
 * Sentinel.) `switched` receives the addresses of the new master, as `showHost` prints them; each Sentinel reports it,
 * within seconds of each other. Returns a function that stops it.
 */
export function watchSentinels(
  address: RedisAddress,
  switched: (master: ReadonlySet<string>) => void,
): () => void {
  const { sentinels = [], name, sentinelTLS, sentinelUsername, sentinelPassword } = address.options;
  const clients = sentinels.map(({ host, port }) => {
    const client = new Redis({
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
      ...(sentinelTLS === undefined ? {} : { tls: sentinelTLS }),
      ...(sentinelUsername === undefined ? {} : { username: sentinelUsername }),
      ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
      lazyConnect: true,
      enableReadyCheck: false,
      retryStrategy: pauseBefore,
      autoResubscribe: false,
    });
    // An unreachable Sentinel is retried; the bus logs whether the master is reachable.
    client.on("error", () => {});
    client.on("message", (_channel: string, text: string) => {
      const [which, , , host = "", port = ""] = text.split(" ");
      if (which === name) void addressesOf(host, Number(port)).then(switched);
    });
    // On each connection: ioredis does not resubscribe if the first authentication failed.
    client.on("ready", () => void client.subscribe(SWITCHED).catch(() => client.disconnect(true)));
    client.connect().catch(() => {});
    return client;
  });
  return () => {
    for (const client of clients) client.disconnect();
  };
}

/** The addresses of a host; a Sentinel may announce a host name. */
async function addressesOf(host: string, port: number): Promise<ReadonlySet<string>> {
  const found = isIP(host) > 0 ? [] : await lookup(host, { all: true }).catch(() => []);
  return new Set(
    [host, ...found.map(({ address }) => address)].map((each) => showHost({ host: each, port })),
  );
}

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { Redis } from "ioredis";
import { type RedisAddress, showHost } from "./redis-address.ts";
import { pauseBefore } from "./redis-connection.ts";

/** What a Sentinel says when it has made another Redis the master: `<name> <old host> <port> <new host> <port>`. */
const SWITCHED = "+switch-master";

/**
 * Listens to the Sentinels for a change of master. A master that is replaced while it lives goes on answering for some
 * ten seconds, and what is published there reaches nobody. (ioredis can do this too, and prints to the console for each
 * Sentinel that is away.) `switched` is told the addresses of the new master, as `showHost` prints them: each Sentinel
 * says it, the last ones seconds after the first, when that master is long in use. Gives what ends it.
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
    // One that is away is tried again; whether the master is there is told by the connections to it.
    client.on("error", () => {});
    client.on("message", (_channel: string, text: string) => {
      const [which, , , host = "", port = ""] = text.split(" ");
      if (which === name) void addressesOf(host, Number(port)).then(switched);
    });
    // Again after each loss: what was not signed in to at first is not subscribed to by itself.
    client.on("ready", () => void client.subscribe(SWITCHED).catch(() => client.disconnect(true)));
    client.connect().catch(() => {});
    return client;
  });
  return () => {
    for (const client of clients) client.disconnect();
  };
}

/** A Sentinel may announce a host by name. */
async function addressesOf(host: string, port: number): Promise<ReadonlySet<string>> {
  const found = isIP(host) > 0 ? [] : await lookup(host, { all: true }).catch(() => []);
  return new Set(
    [host, ...found.map(({ address }) => address)].map((each) => showHost({ host: each, port })),
  );
}

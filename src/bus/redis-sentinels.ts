import { Redis } from "ioredis";
import type { RedisAddress } from "./redis-address.ts";
import { pauseBefore } from "./redis-link.ts";

/** What a Sentinel says when it has made another Redis the master: `<name> <old host> <port> <new host> <port>`. */
const SWITCHED = "+switch-master";

/**
 * Listens to the Sentinels for a change of master. A master that is replaced while it lives goes on answering for some
 * ten seconds, and what is published there reaches nobody. (ioredis can do this too, and prints to the console for each
 * Sentinel that is away.) Gives what ends it.
 */
export function watchSentinels(address: RedisAddress, switched: () => void): () => void {
  const { sentinels = [], name, sentinelTLS } = address.options;
  const clients = sentinels.map(({ host, port }) => {
    const client = new Redis({
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
      ...(sentinelTLS === undefined ? {} : { tls: sentinelTLS }),
      lazyConnect: true,
      enableReadyCheck: false,
      retryStrategy: pauseBefore,
      // The subscription waits for as long as it takes.
      maxRetriesPerRequest: null,
    });
    // One that is away is tried again; whether the master is there is told by the connections to it.
    client.on("error", () => {});
    client.on("message", (_channel: string, text: string) => {
      if (text.split(" ")[0] === name) switched();
    });
    client.subscribe(SWITCHED).catch(() => {});
    return client;
  });
  return () => {
    for (const client of clients) client.disconnect();
  };
}

/** Some of the clients of many-connections.ts: a process opens 20,000 descriptors at most. Follows messages of its parent. */
import { connectAll, countClosed, joinAll } from "../../src/bench/clients.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import type { Client } from "../../src/bench/websocket-client.ts";
import { SECRET } from "./servers.ts";
import { mint } from "./tokens.ts";

/** Joins between two pauses: so many answers come within the time that `joinAll` gives them. */
const AT_ONCE = 1000;

export type ToClients =
  /** Divided among the addresses. */
  | {
      readonly type: "connect";
      readonly urls: readonly string[];
      readonly from: number;
      readonly count: number;
    }
  /** Client `i` joins channel `<name>-<i % channels>`. */
  | { readonly type: "join"; readonly name: string; readonly channels: number }
  | { readonly type: "count" };

export type FromClients = { readonly done: number };

const clients: Client[] = [];

process.on("message", (message: ToClients) => {
  void follow(message).then((done) => process.send?.({ done } satisfies FromClients));
});

/** Resolves to the number of clients that are connected. */
async function follow(message: ToClients): Promise<number> {
  if (message.type === "connect") {
    const { urls, from, count } = message;
    const each = Math.ceil(count / urls.length);
    for (const [i, url] of urls.entries()) {
      const some = Math.min(each, count - i * each);
      clients.push(...(await connectAll(phoenix, phoenix.socketUrl(url), some, from + i * each)));
    }
  } else if (message.type === "join") {
    for (let next = 0; next < clients.length; next += AT_ONCE) {
      await joinAll(phoenix, clients.slice(next, next + AT_ONCE), ({ index }) => {
        const topic = `${message.name}-${index % message.channels}`;
        return { topic, token: mint(SECRET, `user-${index}`, topic) };
      });
    }
  }
  return clients.length - countClosed(clients);
}

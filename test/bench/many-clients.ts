/** Some of the clients of many-connections.ts: a process opens 20,000 descriptors at most. Follows messages of its parent. */
import { connectAll, countClosed, joinAll } from "../../src/bench/clients.ts";
import type { Driver } from "../../src/bench/driver.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import type { Client } from "../../src/bench/websocket-client.ts";
import { SECRET } from "./servers.ts";
import { mint } from "./tokens.ts";
import { untilRoom } from "./until-room.ts";

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
  | { readonly type: "count" }
  | { readonly type: "refused" };

export type FromClients = { readonly done: number };

const clients: Client[] = [];
/** Times that a worker without room refused a client. */
let refused = 0;

const patient: Driver = {
  ...phoenix,
  connect: (index, url) =>
    untilRoom(
      () => phoenix.connect(index, url),
      () => refused++,
    ),
};

process.on("message", (message: ToClients) => {
  void follow(message).then((done) => process.send?.({ done } satisfies FromClients));
});

/** Resolves to the number of clients that are connected, or to what was asked for. */
async function follow(message: ToClients): Promise<number> {
  if (message.type === "refused") return refused;
  if (message.type === "connect") {
    const { urls, from, count } = message;
    const each = Math.ceil(count / urls.length);
    for (const [i, url] of urls.entries()) {
      const some = Math.min(each, count - i * each);
      clients.push(...(await connectAll(patient, phoenix.socketUrl(url), some, from + i * each)));
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

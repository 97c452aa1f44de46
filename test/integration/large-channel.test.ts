import { expect, test } from "bun:test";
import { connectAll, joinAll } from "../../src/bench/clients.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import { eventually } from "./phoenix-client.ts";
import { startWorld } from "./world.ts";

/** So many that a message is written in several turns of the event loop. */
const MEMBERS = 3000;
const MESSAGES = 400;
/** Messages published at once. */
const BURST = 7;
const NUMBER = /"n":(\d+)/;

test("every member of a large channel gets every message in order", async () => {
  const world = await startWorld("redis", { toml: '[channels."hall"]\npresence = "count"\n' });
  try {
    const url = phoenix.socketUrl(world.channel.url.replace("http", "ws"));
    const clients = await connectAll(phoenix, url, MEMBERS);
    const token = world.token("hall");
    await joinAll(phoenix, clients, () => ({ topic: "hall", token }));
    const received = clients.map((): number[] => []);
    for (const client of clients) {
      client.onMessage = (client, bytes, start, end) => {
        const number = NUMBER.exec(bytes.toString("latin1", start, end))?.[1];
        if (number !== undefined) received[client.index]?.push(Number(number));
      };
    }
    for (let n = 0; n < MESSAGES; n++) {
      void world.backend.publish("to:hall:message", `{"n":${n}}`);
      if (n % BURST === BURST - 1) await Bun.sleep(5);
    }
    const all = Array.from({ length: MESSAGES }, (_, n) => n);
    await eventually(
      async () => received.every(({ length }) => length >= MESSAGES),
      "all messages at all members",
      20_000,
    );
    for (const numbers of received) expect(numbers).toEqual(all);
  } finally {
    await world.stop();
  }
}, 60_000);

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { WAYS } from "./phoenix-client.ts";
import { startWorld, type World } from "./world.ts";

/** `idle_timeout` in ms, and that plus more than one sweep takes. */
const IDLE = 4000;
const LATE = IDLE + 2500;

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `presence_window = "10ms"\n[limits]\nidle_timeout = "${IDLE}ms"\n`,
  });
});
afterAll(() => world.stop());

describe.concurrent("heartbeat", () => {
  test("a client that answers pings stays connected without sending", async () => {
    // The server starts to count later than this client does.
    const start = performance.now();
    const client = await world.connect();
    await client.join("calm", { token: world.token("calm") });
    await client.socket.pings.next();
    // The server pings after half of idle_timeout, at most 25 s.
    expect(performance.now() - start).toBeGreaterThan(IDLE / 4);
    await Bun.sleep(LATE);
    expect(client.socket.isClosed).toBe(false);
    await client.fence();
  });

  test("a client that does not answer pings is closed and its presence ends, even while it receives messages", async () => {
    const watcher = await world.connect();
    await watcher.join("busy", { token: world.token("busy", { id: "watcher" }) });
    const unresponsive = await world.connect();
    await unresponsive.join("busy", { token: world.token("busy", { id: "gone" }) });
    unresponsive.socket.answerPings(false);
    const start = performance.now();
    const publishing = setInterval(() => void world.backend.publish("to:busy:tick", "1"), 50);
    try {
      await unresponsive.socket.closed;
      expect(performance.now() - start).toBeGreaterThan(IDLE / 2);
      await watcher.frames.until(
        (each) => /"leaves":\{"gone"/.test(each.text),
        "the leave of the client that sends no pongs",
      );
    } finally {
      clearInterval(publishing);
    }
    expect(unresponsive.socket.pings.all.length).toBeGreaterThan(0);
  });

  test("a client that sends frames stays connected without pongs", async () => {
    const client = await world.connect();
    await client.join("talks", { token: world.token("talks") });
    client.socket.answerPings(false);
    for (let waited = 0; waited < LATE; waited += IDLE / 4) {
      await Bun.sleep(IDLE / 4);
      await client.fence();
    }
    expect(client.socket.isClosed).toBe(false);
  });

  test("closes a socket that sent no frame after idle_timeout, even if it answers pings", async () => {
    const start = performance.now();
    const client = await world.connect();
    expect(await client.socket.closed).toEqual({ code: 1001, reason: "no frame received" });
    expect(performance.now() - start).toBeWithin(IDLE - 100, LATE);
  });

  for (const { vsn, transport, way } of WAYS) {
    test(`a client that sends heartbeats stays connected without channels and can join later, ${way}`, async () => {
      const [fresh, left] = [
        await world.connect({ vsn, transport }),
        await world.connect({ vsn, transport }),
      ];
      const topic = `beats ${way}`;
      const token = world.token(topic);
      await left.join(topic, { token });
      await left.ask({ topic, event: "phx_leave" });
      for (let waited = 0; waited < 2 * LATE; waited += IDLE / 4) {
        await Bun.sleep(IDLE / 4);
        await Promise.all([fresh.fence(), left.fence()]);
      }
      for (const client of [fresh, left]) expect((await client.join(topic, { token })).status).toBe("ok");
    });
  }

  test("answers a ping of a client", async () => {
    const client = await world.connect();
    client.socket.ping("are you there");
    expect((await client.socket.pongs.next()).toString()).toBe("are you there");
  });
});

test("at shutdown every socket is closed with 1012 and its leave is published", async () => {
  const own = await startWorld("redis");
  try {
    const clients = await Promise.all(Array.from({ length: 20 }, () => own.connect()));
    for (const [i, client] of clients.entries()) {
      await client.join("room", { token: own.token("room", { id: `user ${i}` }) });
    }
    const inbox = await own.backend.listen("to:room:presence_diff");
    expect(await own.channel.stop()).toBe(0);
    const codes = await Promise.all(clients.map((each) => each.socket.closed));
    expect(new Set(codes.map((each) => each.code))).toEqual(new Set([1012]));
    const left = new Set<string>();
    while (left.size < 20) {
      const diff: unknown = JSON.parse((await inbox.next()).payload.toString());
      if (typeof diff !== "object" || diff === null || !("leaves" in diff)) throw new Error("no diff");
      for (const id of Object.keys(diff.leaves ?? {})) left.add(id);
    }
  } finally {
    await own.stop();
  }
}, 15_000);

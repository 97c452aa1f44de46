import { describe, expect, test } from "bun:test";
import { eventually, type PhoenixClient } from "../phoenix-client.ts";
import { startWorld, type World } from "../world.ts";
import { frameOf, startPoller } from "./poller.ts";

const codeOf = async (client: PhoenixClient): Promise<number> => (await client.socket.closed).code;

const isDiff = ({ name }: { readonly name: string }): boolean => name.endsWith(":presence_diff");

async function joined(world: World, topic: string, id = "alice"): Promise<PhoenixClient> {
  const client = await world.connect();
  await client.join(topic, { token: world.token(topic, { id }) });
  return client;
}

describe.concurrent("a server that receives SIGTERM", () => {
  test("says so at /ready first, and goes on serving old and new clients for drain_delay", async () => {
    const world = await startWorld("redis", { toml: `drain_delay = "6s"\nshutdown_grace = "0s"\n` });
    const ready = async (): Promise<number> => (await fetch(`${world.channel.url}/ready`)).status;
    try {
      const old = await joined(world, "drained");
      expect(await ready()).toBe(200);
      const told = performance.now();
      world.channel.kill("SIGTERM");
      await eventually(async () => (await ready()) === 503, "the end of being ready");
      const fresh = await joined(world, "drained", "bob");
      const poller = await startPoller(world.channel.url);
      expect((await poller.post(`[null,"h","phoenix","heartbeat",{}]`)).status).toBe(200);
      await world.backend.publish("to:drained:still", "1");
      for (const client of [old, fresh]) expect((await client.event("still")).payload).toBe(1);
      expect((await fetch(`${world.channel.url}/health`)).status).toBe(200);
      expect(old.socket.isClosed).toBe(false);
      expect(await Promise.all([old, fresh].map(codeOf))).toEqual([1012, 1012]);
      expect(performance.now() - told).toBeGreaterThan(5900);
      expect(await world.channel.exited).toBe(0);
      await expect(fetch(`${world.channel.url}/health`)).rejects.toThrow();
    } finally {
      await world.stop();
    }
  });

  test("closes its sockets with 1012 in batches over shutdown_grace, and publishes that everyone left before it ends", async () => {
    const world = await startWorld("redis", {
      toml: `shutdown_grace = "1500ms"\npresence_window = "20ms"\n`,
    });
    try {
      const diffs = await world.backend.listen("to:crowd:*");
      const parted = await world.backend.listen("to:admin:channel.remove");
      const crowd = await Promise.all(
        Array.from({ length: 600 }, (_, i) => joined(world, "crowd", `user ${i}`)),
      );
      const closes = crowd.map(codeOf);
      world.channel.kill("SIGTERM");
      expect(new Set(await Promise.all(closes))).toEqual(new Set([1012]));
      expect(await world.channel.exited).toBe(0);
      // Six batches of 100, 100 ms apart, by the server's own clock.
      const timeOf = (what: string): number =>
        Date.parse(world.channel.lines.find(({ message }) => message === what)?.time ?? "");
      expect(timeOf("stopped") - timeOf("stopping")).toBeGreaterThan(490);
      const here = new Set<string>();
      const gone = await eventually(() => {
        for (const each of diffs.take().filter(isDiff)) {
          const { joins, leaves } = JSON.parse(each.payload.toString());
          for (const id of Object.keys(joins)) here.add(id);
          for (const id of Object.keys(leaves)) here.delete(id);
        }
        return here.size === 0;
      }, "everybody's leave");
      expect(gone).toBe(true);
      await parted.until(({ payload }) => payload.includes('"crowd"'), "the end of the channel");
    } finally {
      await world.stop();
    }
  }, 20_000);

  test("ends at once at a second signal, however long it would take", async () => {
    const world = await startWorld("embedded", { toml: `drain_delay = "30s"\nshutdown_grace = "30s"\n` });
    try {
      const client = await joined(world, "cut short");
      world.channel.kill("SIGTERM");
      await world.channel.log.until(({ message }) => message === "stopping");
      const told = performance.now();
      world.channel.kill("SIGINT");
      expect(await world.channel.exited).toBe(130);
      expect(performance.now() - told).toBeLessThan(25_000);
      expect(await codeOf(client)).toBe(1006);
    } finally {
      await world.stop();
    }
  });

  test("leaves nothing half-written: who is in the middle of a frame gets it whole, and 1012 behind it", async () => {
    const world = await startWorld("redis");
    try {
      const reader = await joined(world, "middle");
      const hung = await joined(world, "middle");
      const witness = await joined(world, "middle");
      await Promise.all([reader, hung].map((client) => client.fence()));
      for (const client of [reader, hung]) client.socket.pause();
      const fill = "x".repeat(200_000);
      // More than the kernel holds for a connection, so that a frame stands half in it and half in the server.
      for (let i = 0; i < 28; i++) await world.backend.publish("to:middle:n", JSON.stringify({ i, fill }));
      for (let i = 0; i < 28; i++) await witness.event("n");
      world.channel.kill("SIGTERM");
      expect(await codeOf(witness)).toBe(1012);
      reader.socket.resume();
      expect(await codeOf(reader)).toBe(1012);
      const got = reader.frames.all.filter(({ event }) => event === "n");
      expect(got.map(({ payload }) => Object(payload).i)).toEqual(Array.from({ length: 28 }, (_, i) => i));
      // Who reads nothing at all does not keep the server.
      expect(await world.channel.exited).toBe(0);
      hung.socket.resume();
      expect(await codeOf(hung)).toBe(1006);
    } finally {
      await world.stop();
    }
  });

  test("answers a poll with what is buffered, then ends the session", async () => {
    const world = await startWorld("redis", { toml: `[channels."*"]\npresence = false\n` });
    try {
      const poller = await startPoller(world.channel.url);
      const token = world.token("polled");
      await poller.post(JSON.stringify(["1", "1", "polled", "phx_join", { token }]));
      await poller.until(({ ref }) => ref === "1");
      const witness = await joined(world, "polled", "witness");
      const waiting = poller.poll();
      // Time for the poll to be there: it is to hold the last message and the end.
      await Bun.sleep(500);
      await world.backend.publish("to:polled:last", "1");
      // Redis answers before it has written to its subscribers.
      await witness.event("last");
      world.channel.kill("SIGTERM");
      const { status, messages } = await waiting;
      expect([status, ...messages.map((each) => frameOf(each, "2.0.0").event)]).toEqual([200, "last"]);
      // Either the server is still there to say it, or there is none any more.
      const after = await poller.poll().catch(() => null);
      expect([410, undefined]).toContain(after?.status);
      expect(await world.channel.exited).toBe(0);
    } finally {
      await world.stop();
    }
  });
});

import { describe, expect, test } from "bun:test";
import { type Json, object, openSocket, startRig } from "./channelstream/rig.ts";
import { enterGroups } from "./groups/groups-client.ts";
import { connectPhoenix, eventually, type Frame, type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { startSlowLine } from "./slow-line.ts";
import { listenSse } from "./sse-client.ts";
import { ADMIN_SECRET, RETURNS_MEMORY, startWorld, type World } from "./world.ts";

/** Seconds of the scene on a slow line. */
const SECONDS = Number(process.env.CHANNEL_SLOW_SECONDS || 20);
const TABLE = 200_000;
const SLOW_LINE = 50_000;
const MIB = 1024 * 1024;

const LATEST = `[channels."*"]\nslow = "latest"\n`;

async function metric(world: World, name: string): Promise<number> {
  const headers = { authorization: `Bearer ${ADMIN_SECRET}` };
  const text = await (await fetch(`${world.channel.url}/metrics`, { headers })).text();
  return Number(new RegExp(`^${name} (\\S+)`, "m").exec(text)?.[1] ?? Number.NaN);
}

/** `i` of a payload `{"i":1,...}`; NaN without. */
function numberOf(payload: unknown): number {
  return Number(Object(payload).i ?? Number.NaN);
}

function numbers(frames: readonly Frame[], event: string): number[] {
  return frames.filter((each) => each.event === event).map(({ payload }) => numberOf(payload));
}

/** How many messages the client was notified of that it did not get. */
function skipped(frames: readonly Frame[]): number {
  return frames
    .filter(({ event }) => event === "skipped")
    .reduce((sum, { payload }) => sum + Number(Object(payload).count), 0);
}

/** Publishes until a client does not keep up: from then on its messages wait in the server. Returns the number published. */
async function makeLag(world: World, channel: string, event: string): Promise<number> {
  const before = await metric(world, "channel_conflated_total");
  const fill = "x".repeat(20_000);
  let i = 0;
  await eventually(async () => {
    for (let n = 0; n < 10; n++)
      await world.backend.publish(`to:${channel}:${event}`, JSON.stringify({ i: i++, fill }));
    return (await metric(world, "channel_conflated_total")) > before;
  }, "messages left out");
  return i;
}

async function join(world: World, client: PhoenixClient, channel: string, id: string): Promise<void> {
  expect((await client.join(channel, { token: world.token(channel, { id }) })).status).toBe("ok");
}

describe.concurrent("a line of 50 KB/s with 200 KB a second", () => {
  test(
    "shows the newest table when it can, with flat memory; others get every table",
    async () => {
      const world = await startWorld("redis", { toml: LATEST });
      const line = await startSlowLine(world.channel.url, SLOW_LINE);
      try {
        const slow = await connectPhoenix(line.url);
        const quick = await world.connect();
        for (const client of [slow, quick]) await join(world, client, "map", "page");
        const fill = "x".repeat(TABLE);
        const started = performance.now();
        let published = 0;
        let buffered = 0;
        /** For each table that arrived: the newest one that was published then. */
        const newest: number[] = [];
        while (performance.now() - started < SECONDS * 1000) {
          await world.backend.publish("to:map:table", JSON.stringify({ i: published++, fill }));
          const next = started + published * 1000;
          while (performance.now() < next) {
            await Bun.sleep(10);
            const arrived = numbers(slow.frames.all, "table").length;
            while (newest.length < arrived) newest.push(published - 1);
          }
          buffered = Math.max(buffered, await metric(world, "channel_buffered_bytes"));
        }
        line.setRate(Number.POSITIVE_INFINITY);
        const last = published - 1;
        await slow.frames.until(({ payload }) => numberOf(payload) === last, "the newest table");
        const got = numbers(slow.frames.all, "table");
        expect(got.length + skipped(slow.frames.all)).toBe(published);
        expect(got).toEqual(got.toSorted((a, b) => a - b));
        expect(got.length).toBeLessThan(published / 2);
        // It takes 4 s to pass a table on, and it was the newest at most 2 s before.
        const noticed = got.findIndex((i, at) => at > 0 && i > (got[at - 1] ?? 0) + 1);
        const ages = got.map((i, at) => ({ i, age: (newest[at] ?? last) - i }));
        // The first one after a gap waits behind those that were on their way before the client was known to be slow.
        expect(ages.slice(noticed + 1).filter(({ age }) => age > TABLE / SLOW_LINE + 2)).toEqual([]);
        expect(buffered).toBeLessThan(MIB);
        await quick.frames.until(({ payload }) => numberOf(payload) === last, "the newest table");
        expect(numbers(quick.frames.all, "table")).toEqual(Array.from({ length: published }, (_, i) => i));
        expect(await metric(world, "channel_conflated_total")).toBe(skipped(slow.frames.all));
      } finally {
        line.stop();
        await world.stop();
      }
    },
    (SECONDS + 60) * 1000,
  );

  test("is cut off with slow = disconnect", async () => {
    const toml = `[limits]\nmax_payload = "256KiB"\nmax_buffered_per_client = "512KiB"\n`;
    const world = await startWorld("redis", { toml });
    const line = await startSlowLine(world.channel.url, SLOW_LINE);
    try {
      const slow = await connectPhoenix(line.url);
      await join(world, slow, "map", "page");
      const payload = JSON.stringify({ fill: "x".repeat(TABLE) });
      await eventually(async () => {
        await world.backend.publish("to:map:table", payload);
        return (await metric(world, "channel_connections_closed_total")) > 0;
      }, "the end of the connection");
      line.setRate(Number.POSITIVE_INFINITY);
      expect((await slow.socket.closed).code).toBe(1006);
    } finally {
      line.stop();
      await world.stop();
    }
  }, 60_000);
});

describe.concurrent("a client that does not keep up, with slow = latest", () => {
  for (const { way, vsn, transport } of WAYS) {
    test(`gets what was left out counted, and the newest of each event, in order, by ${way}`, async () => {
      const world = await startWorld("embedded", { toml: LATEST });
      try {
        const slow = await world.connect({ vsn, transport });
        await join(world, slow, "map", "slow");
        await slow.fence();
        slow.socket.pause();
        let i = await makeLag(world, "map", "table");
        const publish = async (event: string, n: number) => {
          for (; n > 0; n--) await world.backend.publish(`to:map:${event}`, JSON.stringify({ i: i++ }));
        };
        await publish("a", 3);
        await publish("b", 3);
        const other = await world.connect();
        await join(world, other, "map", "other");
        await other.event("presence_diff");
        await publish("a", 3);
        slow.socket.resume();
        await slow.frames.until(
          (each) => each.event === "a" && numberOf(each.payload) === i - 1,
          "the newest",
        );
        const got = slow.frames.all;
        const end = got.slice(got.findIndex(({ event }) => event === "skipped"));
        expect(end.map(({ event }) => event).filter((event) => event !== "presence_state")).toEqual([
          "skipped",
          "table",
          "b",
          "presence_diff",
          "a",
        ]);
        const all = ["table", "a", "b"].flatMap((event) => numbers(got, event));
        expect(all.length + skipped(got)).toBe(i);
        // When it has read in time again, it gets every message.
        await eventually(async () => {
          const from = i;
          await slow.fence();
          await publish("c", 5);
          await slow.frames.until(
            (each) => each.event === "c" && numberOf(each.payload) === i - 1,
            "the last",
          );
          return numbers(slow.frames.all, "c").filter((n) => n >= from).length === 5;
        }, "every message");
      } finally {
        await world.stop();
      }
    }, 60_000);
  }

  test("is answered meanwhile, and gets nothing of a channel that it left", async () => {
    const world = await startWorld("embedded", { toml: LATEST });
    const line = await startSlowLine(world.channel.url, Number.POSITIVE_INFINITY);
    try {
      const slow = await connectPhoenix(line.url);
      await join(world, slow, "map", "slow");
      await join(world, slow, "other", "slow");
      line.setRate(0);
      await makeLag(world, "map", "table");
      await world.backend.publish("to:map:last", "{}");
      await world.backend.publish("to:other:last", "{}");
      slow.send({ joinRef: "1", ref: "leave", topic: "map", event: "phx_leave" });
      await eventually(async () => (await metric(world, "channel_leaves_total")) > 0, "the leave");
      line.setRate(Number.POSITIVE_INFINITY);
      await slow.reply("leave");
      await slow.event("last", "other");
      expect(slow.frames.all.filter(({ event, topic }) => event === "last" && topic === "map")).toEqual([]);
    } finally {
      line.stop();
      await world.stop();
    }
  }, 60_000);

  test("of event groups gets the newest payload of each event", async () => {
    const world = await startWorld("embedded", { toml: LATEST });
    try {
      const slow = await enterGroups(world.channel.url, world.token("jobs"));
      await slow.follow({ jobs: ["changed", "done"] });
      slow.socket.pause();
      const count = await makeLag(world, "jobs", "changed");
      await world.backend.publish("to:jobs:done", `{"done":1}`);
      await world.backend.publish("to:jobs:done", `{"done":2}`);
      await world.backend.publish("to:jobs:changed", `{"i":${count}}`);
      slow.socket.resume();
      await slow.texts.until((text) => text === `{"i":${count}}`, "the newest");
      const got = slow.texts.all;
      expect(got.slice(-2)).toEqual([`{"done":2}`, `{"i":${count}}`]);
      expect(got).not.toContain(`{"done":1}`);
    } finally {
      await world.stop();
    }
  }, 60_000);

  test("of server-sent events gets a notice, and the newest message of each event", async () => {
    const world = await startWorld("embedded", { toml: LATEST });
    try {
      const slow = await listenSse(world.channel.port, "/sse?channel=map", {
        headers: { authorization: `Bearer ${world.token("map")}` },
      });
      slow.socket.pause();
      const count = await makeLag(world, "map", "table");
      await world.backend.publish("to:map:other", `{"i":${count}}`);
      await world.backend.publish("to:map:table", `{"i":${count + 1}}`);
      slow.socket.resume();
      const got = slow.events.all;
      await slow.events.until(({ data }) => data.includes(`{"i":${count + 1}}`), "the newest");
      const at = got.findIndex(({ event }) => event === "skipped");
      const notice: unknown = JSON.parse(got[at]?.data ?? "");
      const messages = got.filter(({ event }) => event === "message");
      expect(notice).toEqual({ channel: "map", count: count + 2 - messages.length });
      expect(got.slice(at + 1).map(({ data }) => JSON.parse(data))).toEqual([
        { channel: "map", event: "other", payload: { i: count } },
        { channel: "map", event: "table", payload: { i: count + 1 } },
      ]);
    } finally {
      await world.stop();
    }
  }, 60_000);

  test("of Channelstream gets a notice, and the newest message of each event", async () => {
    const rig = await startRig("", "embedded", LATEST);
    const line = await startSlowLine(rig.url, Number.POSITIVE_INFINITY);
    try {
      const slow = await openSocket(line.url, await rig.connect("slow", ["map"]));
      line.setRate(0);
      const count = await makeLag(rig.world, "map", "table");
      await rig.send({ user: "someone", channel: "map", message: { i: -1 } });
      await rig.send({ user: "someone", channel: "map", message: { i: -2 } });
      await rig.world.backend.publish("to:map:table", `{"i":${count}}`);
      await eventually(
        async () => (await metric(rig.world, "channel_bus_messages_received_total")) > count,
        "all",
      );
      line.setRate(Number.POSITIVE_INFINITY);
      const isLast = ({ message }: Json) => numberOf(object(message).payload) === count;
      await slow.inbox.until(isLast, "the newest");
      const got = slow.inbox.all.map(({ message }) => object(message));
      const end = got.slice(got.findIndex(({ event }) => event === "skipped"));
      expect(end.map(({ event, i }) => event ?? i)).toEqual(["skipped", -2, "table"]);
      await slow.close();
    } finally {
      line.stop();
      await rig.stop();
    }
  }, 60_000);

  test("survives a burst far above its limit", async () => {
    const toml = `[limits]\nmax_payload = "256KiB"\nmax_buffered_per_client = "512KiB"\n${LATEST}`;
    const world = await startWorld("redis", { toml });
    try {
      const slow = await world.connect();
      await join(world, slow, "map", "slow");
      await slow.fence();
      slow.socket.pause();
      const fill = "x".repeat(TABLE);
      const burst = world.backend.redis.pipeline();
      for (let i = 0; i < 100; i++) burst.publish("to:map:table", JSON.stringify({ i, fill }));
      await burst.exec();
      await eventually(
        async () => (await metric(world, "channel_bus_messages_received_total")) >= 100,
        "all",
      );
      expect(await metric(world, "channel_buffered_bytes")).toBeLessThan(MIB);
      slow.socket.resume();
      await slow.frames.until(({ payload }) => numberOf(payload) === 99, "the newest table");
      expect(numbers(slow.frames.all, "table").length + skipped(slow.frames.all)).toBe(100);
    } finally {
      await world.stop();
    }
  }, 60_000);
});

// One by one: a test that keeps this process busy would make clients of another silent.
describe("clients that do not read, with slow = latest", () => {
  test("are disconnected when they read nothing for idle_timeout, although they send", async () => {
    const toml = `[limits]\nidle_timeout = "3s"\n${LATEST}`;
    let heartbeat: Timer | undefined;
    const world = await startWorld("embedded", { toml });
    const line = await startSlowLine(world.channel.url, Number.POSITIVE_INFINITY);
    try {
      const slow = await connectPhoenix(line.url);
      await join(world, slow, "map", "slow");
      line.setRate(0);
      let ref = 0;
      heartbeat = setInterval(() => {
        slow.send({ joinRef: null, ref: `beat-${ref++}`, topic: "phoenix", event: "heartbeat" });
      }, 300);
      await makeLag(world, "map", "table");
      await eventually(async () => {
        return (await metric(world, 'channel_disconnects_total{reason="slow"}')) === 1;
      }, "the end of the connection");
    } finally {
      clearInterval(heartbeat);
      line.stop();
      await world.stop();
    }
  }, 60_000);

  test("cost little: 1,000 of them and 5,000 messages of as many events", async () => {
    const clients = 1000;
    const world = await startWorld("redis", { toml: LATEST, env: RETURNS_MEMORY });
    try {
      const slow = await Promise.all(Array.from({ length: clients }, () => world.connect()));
      await Promise.all(slow.map((client, at) => join(world, client, "map", `user${at}`)));
      for (const client of slow) {
        await client.fence();
        client.socket.pause();
      }
      const before = await metric(world, "process_resident_memory_bytes");
      const fill = "x".repeat(1000);
      let i = 0;
      const publish = async (count: number) => {
        const batch = world.backend.redis.pipeline();
        for (; count > 0; count--) batch.publish(`to:map:event${i}`, JSON.stringify({ i: i++, fill }));
        await batch.exec();
      };
      // Until every one lags: the newest message is then left out 1,000 times with each one that follows.
      let last = await metric(world, "channel_conflated_total");
      await eventually(
        async () => {
          await publish(20);
          const now = await metric(world, "channel_conflated_total");
          const all = now - last >= clients;
          last = now;
          return all;
        },
        "all of them to lag",
        60_000,
      );
      const from = i;
      while (i < from + 5000) await publish(100);
      await eventually(
        async () => (await metric(world, "channel_bus_messages_received_total")) >= i,
        "all",
        60_000,
      );
      const { 0: client } = slow;
      expect(await metric(world, "channel_buffered_bytes")).toBeLessThan(clients * 256 * 1024);
      const grown = (await metric(world, "process_resident_memory_bytes")) - before;
      console.log(`${i} events, ${(grown / MIB).toFixed(0)} MiB more for ${clients} clients`);
      // A backlog of 256 KiB each, at most, until the server notices.
      expect(grown).toBeLessThan(384 * MIB);
      expect(await metric(world, 'channel_disconnects_total{reason="slow"}')).toBeNaN();
      client?.socket.resume();
      await client?.frames.until(({ payload }) => numberOf(payload) === i - 1, "the newest");
      const got = client?.frames.all ?? [];
      const after = got.slice(got.findIndex(({ event }) => event === "skipped") + 1);
      const newest = after.map(({ payload }) => numberOf(payload)).filter((n) => !Number.isNaN(n));
      expect(newest.slice(-100)).toEqual(Array.from({ length: 100 }, (_, n) => i - 100 + n));
      world.cutClients();
      await eventually(async () => (await metric(world, "channel_buffered_bytes")) === 0, "nothing kept");
    } finally {
      await world.stop();
    }
  }, 180_000);
});

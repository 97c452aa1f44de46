import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { call } from "./api-client.ts";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { eventually, mint } from "./phoenix-client.ts";
import { markerTime } from "./positions-rig.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { listenSse, openSse, type SseEvent, type SseReader } from "./sse-client.ts";
import { BUSES, backendOn, SECRET, startWorld, type World } from "./world.ts";

const TOML = `
[limits]
history_bytes = "512MiB"
max_payload = "1MiB"
[channels."kept:*"]
history = 200
[channels."few:*"]
history = 3
[channels."price:*"]
last_value = true
[channels."both:*"]
history = 5
last_value = true
[channels."large:*"]
history = 1000
history_bytes = "64MiB"
[channels."newest:*"]
history = 100
slow = "latest"
`;

const POSITION = /^[0-9a-z.]+-\d+$/;

const payloadOf = ({ data }: SseEvent) => JSON.parse(data).payload;

/** The next events up to and with the first that matches. */
async function upTo(
  reader: SseReader,
  match: (event: SseEvent) => boolean,
  what: string,
): Promise<SseEvent[]> {
  const events: SseEvent[] = [];
  for (;;) {
    const event = await reader.events.next();
    events.push(event);
    if (match(event)) return events;
    if (events.length > 5000) throw new Error(`no ${what}`);
  }
}

for (const bus of BUSES) {
  describe(`resuming streams on the ${bus} bus`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: TOML });
    });
    afterAll(() => world.stop());

    const open = (query: string, id?: string) =>
      openSse(
        world.channel.port,
        `/sse?${query}`,
        id === undefined ? {} : { headers: { "last-event-id": id } },
      );
    const publish = async (channel: string, from: number, to: number, event = "e") => {
      for (let n = from; n <= to; n++) await world.backend.publish(`to:${channel}:${event}`, `${n}`);
    };
    /** Waits until the server has received all that was published: Redis answers before it has written to its subscribers. */
    const settled = async () => {
      const ear = await listenSse(world.channel.port, "/sse?channel=mark");
      await world.backend.publish("to:mark:e", "1");
      await ear.message();
      ear.cut();
    };
    const numbers = async (reader: SseReader, last: number) =>
      (await upTo(reader, (each) => each.event === "message" && payloadOf(each) === last, `${last}`)).map(
        payloadOf,
      );

    test.each(["header", "query"])(
      "ready and each message have the position as id; a client gets what it missed of all its channels by its %s, once and in order",
      async (how) => {
        const [a, b] = [`kept:a-${how}`, `kept:b-${how}`];
        const query = `channel=${a}&channel=${b}`;
        const first = open(query);
        const ready = await first.events.next();
        expect(ready).toMatchObject({ event: "ready", numbered: true });
        expect(ready.id).toMatch(POSITION);
        await publish(a, 1, 3);
        expect(await numbers(first, 3)).toEqual([1, 2, 3]);
        const id = first.lastId();
        expect(id).toMatch(POSITION);
        expect(id).not.toBe(ready.id);
        first.cut();
        for (let n = 4; n <= 40; n++) await publish(n % 3 === 0 ? b : a, n, n);
        const second =
          how === "header" ? open(query, id) : open(`${query}&last_event_id=${encodeURIComponent(id)}`);
        expect(await second.events.next()).toMatchObject({ event: "ready", numbered: false });
        expect(await numbers(second, 40)).toEqual(Array.from({ length: 37 }, (_, i) => i + 4));
        await publish(a, 41, 41);
        expect(await numbers(second, 41)).toEqual([41]);
        const { body } = await call(world.channel.url, `/api/channels/${a}`);
        expect(body.recoveries).toEqual({ recovered: 1 });
        // The header, which is newer, wins over the query.
        const third = open(`${query}&last_event_id=${id}`, second.lastId());
        await third.events.next();
        await publish(a, 42, 42);
        expect(await numbers(third, 42)).toEqual([42]);
        second.cut();
        third.cut();
      },
    );

    test("every position of a message serves to resume from, also in the middle of a replay", async () => {
      const query = "channel=kept:m1&channel=kept:m2&channel=kept:m3";
      const reader = await listenSse(world.channel.port, `/sse?${query}`);
      for (let n = 1; n <= 30; n++) await publish(`kept:m${1 + (n % 3)}`, n, n);
      const events = await upTo(reader, (each) => payloadOf(each) === 30, "30");
      for (const event of events.slice(0, -1)) {
        const again = open(query, event.id);
        await again.events.until((each) => each.event === "ready");
        expect((await numbers(again, 30))[0]).toBe(payloadOf(event) + 1);
        again.cut();
      }
      reader.cut();
    });

    test("what cannot be resumed is a gap that names its channel, and other channels are resumed", async () => {
      const query = "channel=kept:g&channel=few:g&channel=plain";
      const reader = await listenSse(world.channel.port, `/sse?${query}`);
      const id = reader.lastId();
      reader.cut();
      await publish("few:g", 1, 5);
      await publish("kept:g", 6, 8);
      const second = open(query, id);
      await second.events.until((each) => each.event === "ready");
      const gaps = [await second.events.next(), await second.events.next()];
      expect(gaps.map(({ event, data, numbered }) => [event, JSON.parse(data), numbered])).toEqual([
        ["gap", { channel: "few:g", reason: "too many" }, false],
        ["gap", { channel: "plain", reason: "history off" }, false],
      ]);
      expect(await numbers(second, 8)).toEqual([6, 7, 8]);
      await publish("few:g", 9, 9);
      await publish("plain", 10, 10);
      expect(await numbers(second, 10)).toEqual([9, 10]);
      second.cut();
    });

    test("an unknown id is a gap, whose own id can be resumed from", async () => {
      for (const id of ["nonsense", "00.ab-7", "zzzzzzzzz.zz-1"]) {
        const reader = open("channel=kept:u", id);
        expect(await reader.events.next()).toMatchObject({ event: "ready", numbered: false });
        const gap = await reader.events.next();
        expect(gap.event).toBe("gap");
        expect(gap.id).toMatch(POSITION);
        expect(JSON.parse(gap.data)).toEqual({ channel: "kept:u", reason: "unknown position" });
        reader.cut();
        await publish("kept:u", 1, 1);
        const again = open("channel=kept:u", gap.id);
        await again.events.until((each) => each.event === "ready");
        expect(await numbers(again, 1)).toEqual([1]);
        again.cut();
      }
    });

    test("messages without a history have no id, and a client that never had one begins anew", async () => {
      const reader = await listenSse(world.channel.port, "/sse?channel=plain2");
      await publish("plain2", 1, 1);
      await reader.message();
      expect(reader.lastId()).toBe("");
      reader.cut();
    });

    test("last values come before ready and live messages, without ids, and not to a client that recovered", async () => {
      for (const channel of ["price:x", "both:x"]) {
        await world.backend.publish(`to:${channel}:gold`, "1");
        await world.backend.publish(`to:${channel}:silver`, "2");
        await world.backend.publish(`to:${channel}:gold`, "3");
        await settled();
        const reader = open(`channel=${channel}`);
        const events = await upTo(reader, (each) => each.event === "ready", "ready");
        expect(
          events.slice(0, -1).map((each) => [JSON.parse(each.data).event, payloadOf(each), each.id]),
        ).toEqual([
          ["silver", 2, ""],
          ["gold", 3, ""],
        ]);
        await world.backend.publish(`to:${channel}:gold`, "4");
        expect(await reader.message()).toMatchObject({ payload: 4 });
        const id = reader.lastId();
        reader.cut();
        if (channel === "price:x") continue;
        const recovered = open(`channel=${channel}`, id);
        await recovered.events.until((each) => each.event === "ready");
        await world.backend.publish(`to:${channel}:gold`, "5");
        expect(await recovered.message()).toMatchObject({ payload: 5 });
        recovered.cut();
        const lost = open(`channel=${channel}`, "nonsense");
        await lost.events.until((each) => each.event === "gap");
        expect([payloadOf(await lost.events.next()), payloadOf(await lost.events.next())]).toEqual([2, 5]);
        lost.cut();
      }
    });

    test("a replay waits for a slow client, which is not cut off and gets everything", async () => {
      const reader = await listenSse(world.channel.port, "/sse?channel=large:a");
      const id = reader.lastId();
      reader.cut();
      const text = "x".repeat(100_000);
      for (let n = 0; n < 150; n++) await world.backend.publish("to:large:a:e", `["${text}",${n}]`);
      const slow = open("channel=large:a", id);
      await slow.events.until((each) => each.event === "ready");
      slow.socket.pause();
      await eventually(async () => {
        const { body } = await call(world.channel.url, "/api/connections?protocol=sse&search=large");
        return body.connections[0]?.buffered > 0;
      }, "a backlog");
      // Not more than is allowed to wait, although all of it is at hand.
      await Bun.sleep(1000);
      const { body } = await call(world.channel.url, "/api/connections?protocol=sse&search=large");
      expect(body.connections[0].buffered).toBeLessThan(1_200_000);
      await world.backend.publish("to:large:a:e", `["",150]`);
      slow.socket.resume();
      for (let n = 0; n <= 150; n++) expect(payloadOf(await slow.events.next())[1]).toBe(n);
      slow.cut();
    }, 60_000);

    test("a replay that the history overtakes is a gap, then live messages", async () => {
      const reader = await listenSse(world.channel.port, "/sse?channel=large:b");
      const id = reader.lastId();
      reader.cut();
      const text = "x".repeat(500_000);
      const more = async (from: number, to: number) => {
        for (let n = from; n < to; n++) await world.backend.publish("to:large:b:e", `["${text}",${n}]`);
      };
      await more(0, 100);
      const slow = open("channel=large:b", id);
      await slow.events.until((each) => each.event === "ready");
      slow.socket.pause();
      await more(100, 230);
      // Else the client may read as fast as the server receives, and is never overtaken.
      await settled();
      slow.socket.resume();
      const events = await upTo(slow, (each) => each.event === "gap", "a gap");
      const seen = events.slice(0, -1).map((each) => payloadOf(each)[1]);
      expect(seen).toEqual(Array.from(seen, (_, i) => i));
      expect(JSON.parse(events.at(-1)?.data ?? "")).toEqual({ channel: "large:b", reason: "too many" });
      await more(230, 231);
      const later = (await upTo(slow, (each) => payloadOf(each)?.[1] === 230, "230")).map(
        (each) => payloadOf(each)[1],
      );
      expect(later).toEqual(Array.from(later, (_, i) => 231 - later.length + i));
      slow.cut();
    }, 60_000);

    test("a channel with slow = latest can be resumed alone, and has no ids beside others", async () => {
      const alone = await listenSse(world.channel.port, "/sse?channel=newest:a");
      const id = alone.lastId();
      alone.cut();
      await publish("newest:a", 1, 3);
      const again = open("channel=newest:a", id);
      await again.events.until((each) => each.event === "ready");
      expect(await numbers(again, 3)).toEqual([1, 2, 3]);
      again.cut();
      const mixed = await listenSse(world.channel.port, "/sse?channel=newest:a&channel=kept:z");
      await publish("newest:a", 4, 4);
      expect((await mixed.events.next()).numbered).toBe(false);
      await publish("kept:z", 5, 5);
      expect((await mixed.events.next()).numbered).toBe(true);
      mixed.cut();
    });

    test("authorization is checked again", async () => {
      const exp = Math.floor(Date.now() / 1000) + 3600;
      const token = mint({ id: "eve", exp, channels: ["kept:s"] }, SECRET);
      const reader = await listenSse(world.channel.port, `/sse?channel=kept:s&token=${token}`);
      const id = reader.lastId();
      reader.cut();
      await call(world.channel.url, "/api/disconnect", { body: { id: "eve", ban: "10m" } });
      expect(await open(`channel=kept:s&token=${token}`, id).status).toBe(401);
    });
  });
}

describe("two servers on one Redis", () => {
  let redis: RedisProcess;
  let servers: ChannelProcess[];
  /** Just before the last start of one of them, Unix time in ms. */
  let startedAt = 0;
  const start = (port?: number) =>
    startChannel({
      toml: `jwt_secret = "${SECRET}"\nbus = "redis"\nredis_url = "${redis.url}"\n${TOML}`,
      ...(port === undefined ? {} : { port }),
    });
  beforeAll(async () => {
    redis = await startRedis();
    const first = await start();
    startedAt = Date.now();
    servers = [first, await start()];
  });
  afterAll(async () => {
    for (const server of servers ?? []) await server.stop();
    await redis?.stop();
  });

  test("a stream goes on at the other server when its own stops or is killed, and nothing is lost", async () => {
    const backend = backendOn(redis.port);
    const seen: number[] = [];
    let current = 0;
    let id: string | undefined;
    let reader: SseReader;
    let over = false;
    const follow = async () => {
      while (!over) {
        const { port } = servers[current % 2] ?? { port: 0 };
        reader = openSse(
          port,
          "/sse?channel=kept:r",
          id === undefined ? {} : { headers: { "last-event-id": id } },
        );
        for (;;) {
          const event = await reader.events.next(5000).catch(() => null);
          if (event === null) break;
          if (event.event === "gap") throw new Error(`a gap: ${event.data}`);
          if (event.event === "message") seen.push(payloadOf(event));
          if (event.id !== "") id = event.id;
          if (event.event === "closed") break;
        }
        reader.cut();
        current++;
      }
    };
    const following = follow();
    following.catch(() => {});
    await eventually(() => id !== undefined, "ready");
    let n = 0;
    const publishing = setInterval(() => void backend.publish("to:kept:r:e", `${++n}`), 10);
    for (const signal of ["SIGTERM", "SIGTERM", "SIGKILL", "SIGTERM", "SIGKILL"] as const) {
      await eventually(() => markerTime(id ?? null) >= startedAt, "a position that the other server knows");
      const at = current % 2;
      const server = servers[at];
      if (server === undefined) throw new Error("no server");
      const before = current;
      server.kill(signal);
      await server.exited;
      const target = n + 20;
      await eventually(() => current > before && (seen.at(-1) ?? 0) >= target, "the other server");
      startedAt = Date.now();
      servers[at] = await start(server.port);
    }
    clearInterval(publishing);
    await eventually(() => seen.at(-1) === n, "the last message");
    over = true;
    await servers[current % 2]?.stop();
    await following;
    backend.stop();
    expect(n).toBeGreaterThan(50);
    expect(seen).toEqual(Array.from({ length: n }, (_, i) => i + 1));
  }, 90_000);

  test("a server that stops sends the newest position first, which the other one knows", async () => {
    for (const at of [0, 1]) await servers[at]?.stop();
    servers = [await start(), await start()];
    const [one, other] = servers;
    if (one === undefined || other === undefined) throw new Error("no servers");
    const backend = backendOn(redis.port);
    const reader = await listenSse(one.port, "/sse?channel=kept:d");
    const early = reader.lastId();
    await backend.publish("to:elsewhere:e", "1");
    await eventually(async () => {
      const probe = await listenSse(one.port, "/sse?channel=kept:d");
      probe.cut();
      return probe.lastId() !== early;
    }, "a newer position");
    one.kill("SIGTERM");
    const closed = await reader.events.until((each) => each.event === "closed", "closed");
    expect(closed.numbered).toBe(true);
    expect(closed.id).not.toBe(early);
    const second = await openSse(other.port, "/sse?channel=kept:d", {
      headers: { "last-event-id": closed.id },
    });
    await second.events.until((each) => each.event === "ready");
    await backend.publish("to:kept:d:e", "7");
    expect(payloadOf(await second.events.next())).toBe(7);
    second.cut();
    backend.stop();
  }, 60_000);

  test("a lost subscription is a gap for live streams, with a position that can be resumed from", async () => {
    const server = await start();
    const backend = backendOn(redis.port);
    const reader = await listenSse(server.port, "/sse?channel=kept:l&channel=plain");
    await backend.redis.call("CLIENT", "KILL", "TYPE", "pubsub");
    const gap = await reader.events.until((each) => each.event === "gap", "a gap");
    expect(JSON.parse(gap.data)).toEqual({ channel: "kept:l", reason: "gap" });
    expect(gap.numbered).toBe(true);
    await backend.publish("to:kept:l:e", "1");
    expect(payloadOf(await reader.events.next())).toBe(1);
    reader.cut();
    const again = openSse(server.port, "/sse?channel=kept:l", { headers: { "last-event-id": gap.id } });
    await again.events.until((each) => each.event === "ready");
    expect(payloadOf(await again.events.next())).toBe(1);
    again.cut();
    backend.stop();
    await server.stop();
  }, 60_000);
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Bus } from "../../src/bus/bus.ts";
import { createEmbeddedBus } from "../../src/bus/embedded/embedded-bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { Backend, Heard, recordingLog, Settled } from "./bus-rig.ts";
import { startRedis } from "./redis-process.ts";

const MIB = 1024 * 1024;
const LIMITS = { maxPayload: 4 * MIB, maxBuffered: 64 * MIB };

interface Rig {
  readonly bus: Bus;
  /** Where backends connect. */
  readonly port: () => number;
  readonly end: () => Promise<void>;
  /** How many servers subscribe there. */
  readonly servers?: number;
}

/** Every way to have a bus; the last is what a second server on one machine has when the first brought the bus. */
const RIGS: Readonly<Record<string, () => Promise<Rig>>> = {
  redis: async () => {
    const redis = await startRedis();
    const bus = createRedisBus({ url: redis.url, ...LIMITS, log: recordingLog().log });
    return { bus, port: () => redis.port, end: () => redis.stop() };
  },
  embedded: async () => {
    const bus = createEmbeddedBus({ port: 0, ...LIMITS, log: recordingLog().log });
    return { bus, port: () => bus.port, end: async () => {} };
  },
  "redis, where an embedded bus plays Redis": async () => {
    const embedded = createEmbeddedBus({ port: 0, ...LIMITS, log: recordingLog().log });
    await embedded.start(new Heard());
    const bus = createRedisBus({
      url: `redis://127.0.0.1:${embedded.port}`,
      ...LIMITS,
      log: recordingLog().log,
    });
    return { bus, port: () => embedded.port, end: () => embedded.stop(), servers: 2 };
  },
};

describe.each(Object.keys(RIGS))("a bus: %s", (kind) => {
  let rig: Rig;
  let bus: Bus;
  let backend: Backend;
  const heard = new Heard();

  beforeAll(async () => {
    const make = RIGS[kind];
    if (make === undefined) throw new Error(`no rig ${kind}`);
    rig = await make();
    bus = rig.bus;
    await bus.start(heard);
    if (!bus.state.live) await heard.changes.until((state) => state.live, "a live bus");
    backend = await Backend.connect(rig.port());
  });

  afterAll(async () => {
    backend.close();
    await bus.stop();
    await rig.end();
  });

  test("is live once it is started, and says so once", () => {
    expect(heard.changes.all).toHaveLength(1);
    expect(bus.state).toMatchObject({ live: true, gaps: 0 });
    expect(bus.state.detail).toContain(`127.0.0.1:${rig.port()}`);
    expect(Math.abs(bus.state.since - Date.now())).toBeLessThan(60_000);
  });

  test("a backend's publish counts the server among those who heard it", async () => {
    expect(await backend.publish("to:count:me", "1")).toBe(rig.servers ?? 1);
    expect(await backend.publish("elsewhere:count:me", "1")).toBe(0);
  });

  test("payloads arrive byte for byte: every byte value, text, nothing, four MiB", async () => {
    const bytes = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));
    const large = Buffer.alloc(4 * MIB, bytes);
    await backend.publish("to:bytes:all", bytes);
    await backend.publish("to:bytes:text", '{"ü":"\u2028"}');
    await backend.publish("to:bytes:none", "");
    await backend.publish("to:bytes:large", large);
    expect((await heard.on("to:bytes:all")).equals(bytes)).toBe(true);
    expect((await heard.on("to:bytes:text")).toString()).toBe('{"ü":"\u2028"}');
    expect((await heard.on("to:bytes:none")).length).toBe(0);
    expect((await heard.on("to:bytes:large")).equals(large)).toBe(true);
  });

  test("only names that begin with to: are heard, whatever else they hold", async () => {
    const names = ["to:a:b:c:d", "to:*:x", "to:[a-z]?\\:x", "to:", "to:x", "to::", "to:ü \n:x", "to:*"];
    const others = ["from:a:b", "to", "TO:a:b", " to:a:b", "other", "*", ""];
    for (const name of others) await backend.publish(name, "unheard");
    for (const name of names) await backend.publish(name, `on ${name}`);
    for (const name of names) expect((await heard.on(name)).toString()).toBe(`on ${name}`);
    const raw = Buffer.from([...Buffer.from("to:"), 0xff, 0xfe, 0x00, 0x3a, 0x78]);
    await backend.publish(raw, "raw");
    const last = await heard.messages.next();
    expect(last.name.equals(raw)).toBe(true);
    expect(heard.messages.all.filter(({ payload }) => payload.toString() === "unheard")).toEqual([]);
  });

  test("messages of one publisher arrive in their order, large and small", async () => {
    const sent = Array.from({ length: 5000 }, (_, i) =>
      i % 500 === 0 ? `${i}:${"x".repeat(100_000)}` : `${i}:`,
    );
    await Promise.all(sent.map((payload) => backend.publish("to:order:down", payload)));
    for (let i = 0; i < sent.length; i++) {
      const payload = (await heard.on("to:order:down")).toString();
      if (payload !== sent[i]) throw new Error(`message ${i}: ${payload.slice(0, 20)}`);
    }
  });

  test("what is published reaches backends byte for byte", async () => {
    const bytes = new Uint8Array(Array.from({ length: 512 }, (_, i) => i % 256));
    const large = "ü".repeat(2 * MIB);
    const receipts = Array.from({ length: 6 }, () => new Settled());
    bus.publish("from:bytes:text", '{"ü":1}', receipts[0]);
    bus.publish("from:bytes:all", bytes, receipts[1]);
    bytes.fill(7);
    bus.publish("from:bytes:none", "", receipts[2]);
    bus.publish("from:bytes:no-bytes", new Uint8Array(0), receipts[3]);
    bus.publish("from:*:[a-z]?\\", "glob", receipts[4]);
    bus.publish("from:bytes:large", large, receipts[5]);
    expect(await Promise.all(receipts.map(({ promise }) => promise))).toEqual(receipts.map(() => true));
    expect((await backend.on("from:bytes:text")).toString()).toBe('{"ü":1}');
    const all = await backend.on("from:bytes:all");
    expect(all.equals(Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256)))).toBe(true);
    expect((await backend.on("from:bytes:none")).length).toBe(0);
    expect((await backend.on("from:bytes:no-bytes")).length).toBe(0);
    expect((await backend.on("from:*:[a-z]?\\")).toString()).toBe("glob");
    expect((await backend.on("from:bytes:large")).equals(Buffer.from(large))).toBe(true);
  });

  test("text that is not well-formed puts no later message out of step", async () => {
    const receipts = [new Settled(), new Settled()];
    bus.publish("from:odd:\ud800", "\udfff lone", receipts[0]);
    bus.publish("from:odd:after", "after", receipts[1]);
    expect(await Promise.all(receipts.map(({ promise }) => promise))).toEqual([true, true]);
    expect((await backend.on("from:odd:\ufffd")).toString()).toBe("\ufffd lone");
    expect((await backend.on("from:odd:after")).toString()).toBe("after");
  });

  test("publishes are in order, text and bytes mixed, and their receipts too, each settled once", async () => {
    const count = 5000;
    const order: number[] = [];
    let times = 0;
    const done = Promise.withResolvers<void>();
    for (let i = 0; i < count; i++) {
      const receipt = {
        settled: (taken: boolean) => {
          times++;
          if (taken) order.push(i);
          if (order.length === count) done.resolve();
        },
      };
      bus.publish("from:order:up", i % 3 === 0 ? Buffer.from(String(i)) : String(i), receipt);
      if (i % 777 === 0) await Bun.sleep(0);
    }
    await done.promise;
    expect(order).toEqual(order.map((_, i) => i));
    expect(times).toBe(count);
    for (let i = 0; i < count; i++) expect((await backend.on("from:order:up")).toString()).toBe(String(i));
  });

  test("what the server itself publishes on to: comes back to it, and not inside of the publish", async () => {
    let inside = true;
    const receipt = { settled: () => expect(inside).toBe(false) };
    bus.publish("to:own:event", "echo", receipt);
    const before = heard.messages.all.length;
    inside = false;
    expect((await heard.on("to:own:event")).toString()).toBe("echo");
    expect(heard.messages.all.length).toBe(before + 1);
  });

  test("a stopped bus settles what is open, takes nothing and says nothing", async () => {
    const receipts = Array.from({ length: 100 }, () => new Settled());
    for (const receipt of receipts) bus.publish("from:stop:now", "1", receipt);
    const known = heard.messages.all.length;
    const changes = heard.changes.all.length;
    const stopped = bus.stop();
    const late = new Settled();
    bus.publish("from:stop:late", "1", late);
    expect(late.times).toBe(1);
    expect(await late.promise).toBe(false);
    await stopped;
    expect(receipts.map(({ times }) => times)).toEqual(receipts.map(() => 1));
    if (kind !== "embedded") {
      // The last words before an end are sent, though nobody waits to hear that they were taken.
      expect((await backend.on("from:stop:now")).toString()).toBe("1");
      await backend.publish("to:stop:late", "1");
    }
    expect(heard.messages.all.length).toBe(known);
    expect(heard.changes.all.length).toBe(changes);
    await bus.stop();
  });
});

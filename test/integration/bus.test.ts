import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Bus, GroupResult, MessageGroup } from "../../src/bus/bus.ts";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import {
  CONTRACT,
  type ContractBackend,
  contractBackend,
  embeddedRig,
  IMPLEMENTATIONS,
  LIMITS,
  MIB,
  type Rig,
  redisRig,
} from "./bus-implementations.ts";
import { Backend, GreetingListener, RecordingListener, recordingLog, Settled } from "./bus-rig.ts";

describe.each(Object.keys(CONTRACT))("the contract of a bus: %s", (kind) => {
  let rig: Rig;
  let bus: Bus;
  let backend: ContractBackend;
  /** RabbitMQ counts no receivers, and its names are text. */
  const isRedis = kind !== "amqp";
  const received = new RecordingListener();

  beforeAll(async () => {
    const make = CONTRACT[kind];
    if (make === undefined) throw new Error(`no implementation ${kind}`);
    rig = await make();
    bus = rig.bus;
    await bus.subscribe(["to"], received);
    if (!bus.state.live) await received.changes.until((state) => state.live, "a live bus");
    backend = await contractBackend(rig);
    // RabbitMQ takes its time to start on a busy machine.
  }, 180_000);

  afterAll(async () => {
    backend.close();
    await bus.stop();
    await rig.end();
  });

  test("is live after subscribe and notifies once", () => {
    expect(received.changes.all).toHaveLength(1);
    expect(bus.state).toMatchObject({ live: true, gaps: 0 });
    expect(bus.state.detail).toContain(`127.0.0.1:${rig.proxy?.port ?? rig.port()}`);
    expect(Math.abs(bus.state.since - Date.now())).toBeLessThan(60_000);
  });

  test.if(isRedis)(
    "does not deliver a family that is not subscribed, and creates no subscription for it",
    async () => {
      expect(await backend.publish("hub:any:kind", "1")).toBe(0);
      expect(await backend.publish("from:any:kind", "1")).toBe(1);
    },
  );

  test.if(isRedis)("a backend's publish counts the server among its receivers", async () => {
    expect(await backend.publish("to:count:me", "1")).toBe(rig.servers ?? 1);
    expect(await backend.publish("elsewhere:count:me", "1")).toBe(0);
  });

  test("delivers payloads byte for byte: every byte value, text, empty, 4 MiB", async () => {
    const bytes = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));
    const large = Buffer.alloc(4 * MIB, bytes);
    await backend.publish("to:bytes:all", bytes);
    await backend.publish("to:bytes:text", '{"ü":"\u2028"}');
    await backend.publish("to:bytes:none", "");
    await backend.publish("to:bytes:large", large);
    expect((await received.on("to:bytes:all")).equals(bytes)).toBe(true);
    expect((await received.on("to:bytes:text")).toString()).toBe('{"ü":"\u2028"}');
    expect((await received.on("to:bytes:none")).length).toBe(0);
    expect((await received.on("to:bytes:large")).equals(large)).toBe(true);
  });

  test("delivers only names that begin with to:, with any characters after it", async () => {
    const names = ["to:a:b:c:d", "to:*:x", "to:[a-z]?\\:x", "to:", "to:x", "to::", "to:ü \n:x", "to:*"];
    const others = ["from:a:b", "hub:a", "to", "TO:a:b", " to:a:b", "other", "*", ""];
    for (const name of others) await backend.publish(name, "not delivered");
    for (const name of names) await backend.publish(name, `on ${name}`);
    for (const name of names) expect((await received.on(name)).toString()).toBe(`on ${name}`);
    if (!isRedis) return;
    const raw = Buffer.from([...Buffer.from("to:"), 0xff, 0xfe, 0x00, 0x3a, 0x78]);
    await backend.publish(raw, "raw");
    const last = await received.messages.next();
    expect(last.name.equals(raw)).toBe(true);
    expect(received.messages.all.filter(({ payload }) => payload.toString() === "not delivered")).toEqual([]);
  });

  test("delivers messages of one publisher in order, large and small", async () => {
    const sent = Array.from({ length: 5000 }, (_, i) =>
      i % 500 === 0 ? `${i}:${"x".repeat(100_000)}` : `${i}:`,
    );
    await Promise.all(sent.map((payload) => backend.publish("to:order:down", payload)));
    for (let i = 0; i < sent.length; i++) {
      const payload = (await received.on("to:order:down")).toString();
      if (payload !== sent[i]) throw new Error(`message ${i}: ${payload.slice(0, 20)}`);
    }
  });

  test("publishes to backends byte for byte", async () => {
    const bytes = new Uint8Array(Array.from({ length: 512 }, (_, i) => i % 256));
    const large = "ü".repeat(2 * MIB);
    const acks = Array.from({ length: 6 }, () => new Settled());
    bus.publish("from:bytes:text", '{"ü":1}', acks[0]);
    bus.publish("from:bytes:all", bytes, acks[1]);
    bytes.fill(7);
    bus.publish("from:bytes:none", "", acks[2]);
    bus.publish("from:bytes:no-bytes", new Uint8Array(0), acks[3]);
    bus.publish("from:*:[a-z]?\\", "glob", acks[4]);
    bus.publish("from:bytes:large", large, acks[5]);
    expect(await Promise.all(acks.map(({ promise }) => promise))).toEqual(acks.map(() => true));
    expect((await backend.on("from:bytes:text")).toString()).toBe('{"ü":1}');
    const all = await backend.on("from:bytes:all");
    expect(all.equals(Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256)))).toBe(true);
    expect((await backend.on("from:bytes:none")).length).toBe(0);
    expect((await backend.on("from:bytes:no-bytes")).length).toBe(0);
    expect((await backend.on("from:*:[a-z]?\\")).toString()).toBe("glob");
    expect((await backend.on("from:bytes:large")).equals(Buffer.from(large))).toBe(true);
  });

  test("an ack says whether nobody is subscribed, and the bus which families it receives", async () => {
    const heard = (name: string): Promise<readonly [boolean, boolean | undefined]> =>
      new Promise((resolve) => {
        bus.publish(name, "1", { settled: (accepted, unheard) => resolve([accepted, unheard]) });
      });
    expect(await heard("from:heard:x")).toEqual([true, false]);
    if (isRedis) expect(await heard("call:heard:x")).toEqual([true, true]);
    expect((["to", "hub", "reply"] as const).map((family) => bus.hears(family))).toEqual([
      true,
      false,
      false,
    ]);
  });

  test("text that is not well-formed Unicode does not break later messages", async () => {
    const acks = [new Settled(), new Settled()];
    bus.publish("from:odd:\ud800", "\udfff lone", acks[0]);
    bus.publish("from:odd:after", "after", acks[1]);
    expect(await Promise.all(acks.map(({ promise }) => promise))).toEqual([true, true]);
    expect((await backend.on("from:odd:\ufffd")).toString()).toBe("\ufffd lone");
    expect((await backend.on("from:odd:after")).toString()).toBe("after");
  });

  test("publishes text and bytes in order and settles each ack once, in order", async () => {
    const count = 5000;
    const order: number[] = [];
    let times = 0;
    const done = Promise.withResolvers<void>();
    for (let i = 0; i < count; i++) {
      const ack = {
        settled: (accepted: boolean) => {
          times++;
          if (accepted) order.push(i);
          if (order.length === count) done.resolve();
        },
      };
      bus.publish("from:order:up", i % 3 === 0 ? Buffer.from(String(i)) : String(i), ack);
      if (i % 777 === 0) await Bun.sleep(0);
    }
    await done.promise;
    expect(order).toEqual(order.map((_, i) => i));
    expect(times).toBe(count);
    for (let i = 0; i < count; i++) expect((await backend.on("from:order:up")).toString()).toBe(String(i));
  });

  function publishGroup(group: MessageGroup): Promise<readonly [GroupResult, boolean]> {
    return new Promise((resolve) => {
      bus.publishGroup?.(group, { finished: (result, noted) => resolve([result, noted]) });
    });
  }

  test("publishes a group, if it can, with nothing of others between, its note before and after it", async () => {
    if (bus.publishGroup === undefined) return;
    // The embedded bus has no transactions for other servers, which then publish one by one, without notes.
    const isOne = kind !== "redis, connected to an embedded bus";
    const bytes = Buffer.from([0, 13, 10, 255]);
    let lastNoise: Promise<unknown> = Promise.resolve();
    const noise = setInterval(() => {
      lastNoise = backend.publish("to:noise:x", "1");
    }, 0);
    for (let n = 0; n < 20; n++) {
      const note = { name: "to:note:x", payload: `note ${n}` };
      const names = ["a", "ü", "a:b"].map((name) => `to:${name}:group`);
      const own = Buffer.from(bytes);
      const published = publishGroup({ names, payload: n % 2 === 0 ? own : "text", note });
      own.fill(0);
      const [result, noted] = await published;
      if (n > 0) expect([result, noted]).toEqual(isOne ? ["together", true] : ["apart", false]);
      const first = await received.messages.until(({ name }) => name.toString() !== "to:noise:x");
      if (first.name.equals(Buffer.from("to:note:x"))) expect(first.payload.toString()).toBe(`note ${n}`);
      else expect(first.name.toString()).toBe("to:a:group");
      if (!isOne) {
        await received.on("to:a:b:group");
        if (n === 0) await received.on("to:note:x");
        continue;
      }
      for (const name of names) {
        const message = await received.messages.next();
        expect(message.name.toString()).toBe(name);
        expect(message.payload).toEqual(n % 2 === 0 ? bytes : Buffer.from("text"));
      }
      expect((await received.messages.next()).payload.toString()).toBe(`note ${n}`);
    }
    clearInterval(noise);
    // So that nothing of it comes during the next test.
    await lastNoise;
    expect(await publishGroup({ names: ["to:last:one"], payload: "1", note: null })).toEqual([
      isOne ? "together" : "apart",
      false,
    ]);
    expect((await received.on("to:last:one")).toString()).toBe("1");
  });

  test("delivers its own publish on to:, but not within the call", async () => {
    let inside = true;
    const ack = { settled: () => expect(inside).toBe(false) };
    bus.publish("to:own:event", "echo", ack);
    const before = received.messages.all.length;
    inside = false;
    expect((await received.on("to:own:event")).toString()).toBe("echo");
    expect(received.messages.all.length).toBe(before + 1);
  });

  test("a stopped bus settles open acks, refuses publishes and delivers nothing", async () => {
    const acks = Array.from({ length: 100 }, () => new Settled());
    for (const ack of acks) bus.publish("from:stop:now", "1", ack);
    const known = received.messages.all.length;
    const changes = received.changes.all.length;
    const stopped = bus.stop();
    const late = new Settled();
    bus.publish("from:stop:late", "1", late);
    expect(late.times).toBe(1);
    expect(await late.promise).toBe(false);
    if (bus.publishGroup !== undefined) {
      expect(await publishGroup({ names: ["to:stop:group"], payload: "1", note: null })).toEqual([
        "not",
        false,
      ]);
    }
    await stopped;
    expect(acks.map(({ times }) => times)).toEqual(acks.map(() => 1));
    if (bus.kind !== "embedded") {
      // Messages published before the stop are sent.
      expect((await backend.on("from:stop:now")).toString()).toBe("1");
      await backend.publish("to:stop:late", "1");
    }
    expect(received.messages.all.length).toBe(known);
    expect(received.changes.all.length).toBe(changes);
    await bus.stop();
  });
});

describe.each(Object.keys(IMPLEMENTATIONS))("answers on reply: (%s)", (kind) => {
  test("are received, after the greeting and after each loss", async () => {
    const rig = await IMPLEMENTATIONS[kind]?.(true);
    if (rig === undefined) throw new Error(`no implementation ${kind}`);
    const { bus, proxy } = rig;
    const received = new GreetingListener("own");
    await bus.subscribe(["to", "hub", "reply"], received);
    if (!bus.state.live) await received.changes.until((state) => state.live, "a live bus");
    const backend = await Backend.connect(rig.port(), { prefix: rig.prefix ?? "" });
    for (let loss = 0; ; loss++) {
      expect(bus.hears("reply")).toBe(true);
      expect(await backend.publish("reply:x.y", String(loss))).toBe(1);
      expect((await received.on("reply:x.y")).toString()).toBe(String(loss));
      expect(received.since(loss + 1)[0]).toStartWith("hub:marker");
      if (proxy === undefined || loss === 2) break;
      received.changes.take();
      expect(proxy.cutSubscribers()).toBe(1);
      await received.calls.until((call) => call === "lost", "the loss");
      await received.changes.until((state) => state.live, "a live bus");
    }
    backend.close();
    await bus.stop();
    expect(bus.hears("reply")).toBe(false);
    await rig.end();
  });
});

/** Two installations on one Redis: each has a prefix, or one has none. */
describe.each([
  ["redis", redisRig],
  ["embedded", embeddedRig],
] as const)("two prefixes on one Redis: %s", (_kind, makeRig) => {
  test("installations receive only their own messages; hub is delivered where it is subscribed", async () => {
    const rig = await makeRig("one.");
    const one = new RecordingListener();
    await rig.bus.subscribe(["to", "hub"], one);
    if (!rig.bus.state.live) await one.changes.until((state) => state.live, "a live bus");
    const url = `redis://127.0.0.1:${rig.port()}`;
    const others = ["two.", ""].map((prefix) => {
      const bus = createRedisBus({ url, prefix, ...LIMITS, log: recordingLog().log });
      return { prefix, bus, received: new RecordingListener() };
    });
    for (const { bus, received } of others) {
      await bus.subscribe(["to", "hub"], received);
      if (!bus.state.live) await received.changes.until((state) => state.live, "a live bus");
    }
    const buses = [{ prefix: "one.", bus: rig.bus, received: one }, ...others];
    for (const { prefix, bus } of buses) {
      for (const name of ["to:room:news", "hub:kind"]) {
        const ack = new Settled();
        bus.publish(name, `${prefix}${name}`, ack);
        expect(await ack.promise).toBe(true);
      }
    }
    for (const { prefix, received } of buses) {
      expect((await received.on("to:room:news")).toString()).toBe(`${prefix}to:room:news`);
      expect((await received.on("hub:kind")).toString()).toBe(`${prefix}hub:kind`);
    }
    const backend = await Backend.connect(rig.port());
    for (const { prefix } of buses) await backend.publish(`${prefix}to:last:one`, prefix);
    for (const { prefix, received } of buses) {
      expect((await received.on("to:last:one")).toString()).toBe(prefix);
      expect(received.messages.all).toHaveLength(3);
    }
    backend.close();
    await Promise.all(others.map(({ bus }) => bus.stop()));
    await rig.bus.stop();
    await rig.end();
  });
});

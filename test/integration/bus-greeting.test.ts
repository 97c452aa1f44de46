import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createRedisBus } from "../../src/bus/redis/redis-bus.ts";
import { IMPLEMENTATIONS, LIMITS, type Rig } from "./bus-implementations.ts";
import { Backend, GreetingListener, recordingLog } from "./bus-rig.ts";

/** Losses of the subscription in one test. */
const LOSSES = 5;

describe.each(Object.keys(IMPLEMENTATIONS))("the greeting of a bus: %s", (kind) => {
  let rig: Rig;
  let backend: Backend;
  const greeted = new GreetingListener("own");
  let sent = 0;
  let sending = true;
  let load: Promise<void>;

  /** Publishes numbers on `to:` and `hub:` in turn, from before the first subscription to the end. */
  async function publish(): Promise<void> {
    while (sending) {
      const few = Array.from({ length: 20 }, () => {
        const name = sent % 3 === 0 ? "hub:count:it" : "to:count:it";
        return backend.publish(name, String(sent++));
      });
      await Promise.all(few);
    }
  }

  beforeAll(async () => {
    const make = IMPLEMENTATIONS[kind];
    if (make === undefined) throw new Error(`no implementation ${kind}`);
    rig = await make(true);
    const options = { prefix: rig.prefix ?? "" };
    const isServer = rig.bus.kind === "embedded";
    if (!isServer) {
      backend = await Backend.connect(rig.port(), options);
      load = publish();
    }
    await rig.bus.subscribe(["to", "hub"], greeted);
    if (!rig.bus.state.live) await greeted.changes.until((state) => state.live, "a live bus");
    if (isServer) {
      backend = await Backend.connect(rig.port(), options);
      load = publish();
    }
  });

  afterAll(async () => {
    sending = false;
    await load;
    backend.close();
    await rig.bus.stop();
    await rig.end();
  });

  test("is the first message, with the time of the broker and no node", async () => {
    await greeted.on("to:count:it");
    expect(greeted.calls.all.slice(0, 2)).toEqual(["greeting", "hub:marker own 1"]);
    const [first] = greeted.greetings;
    expect(first?.node).toBe("");
    expect(Math.abs((first?.brokerTime ?? 0) / 1000 - Date.now())).toBeLessThan(60_000);
  });

  test("is the first message of each resubscription; each loss is reported once, before it", async () => {
    if (rig.proxy === undefined) return;
    for (let loss = 1; loss <= LOSSES; loss++) {
      expect(rig.proxy.cutSubscribers()).toBe(1);
      await greeted.on("hub:marker");
      await greeted.on("to:count:it");
      await greeted.on("hub:count:it");
      await greeted.changes.until((state) => state.live, "a live bus");
    }
    const calls = greeted.calls.all.filter((call) => !call.includes("count:it"));
    const expected = Array.from({ length: LOSSES }, (_, i) => [
      "lost",
      "greeting",
      `hub:marker own ${i + 2}`,
    ]);
    expect(calls).toEqual(["greeting", "hub:marker own 1", ...expected.flat()]);
    for (const [i, call] of greeted.calls.all.entries()) {
      if (call === "greeting") expect(greeted.calls.all[i + 1]).toStartWith("hub:marker own");
    }
    expect(rig.bus.state.gaps).toBe(LOSSES);
  });

  test("messages of to: and hub: arrive in the order in which they were published, none is missing", () => {
    let segments = 0;
    for (let number = 1; number <= greeted.greetings.length; number++) {
      const [, ...messages] = greeted.since(number);
      const numbers = messages.map((message) => Number(message.split(" ")[1]));
      const first = numbers[0] ?? 0;
      expect(numbers.length).toBeGreaterThan(0);
      expect(numbers).toEqual(numbers.map((_, i) => first + i));
      segments++;
    }
    expect(segments).toBe(rig.proxy === undefined ? 1 : LOSSES + 1);
  });

  test("all servers receive it at the same place of the order", async () => {
    const options = { prefix: rig.prefix ?? "", ...LIMITS, log: recordingLog().log };
    const bus = createRedisBus({ url: `redis://127.0.0.1:${rig.port()}`, ...options });
    const other = new GreetingListener("other");
    await bus.subscribe(["to", "hub"], other);
    await other.on("hub:marker");
    const seen = greeted.calls.all.length;
    await greeted.calls.until((call) => call === "hub:marker other 1", "the greeting of another server");
    rig.proxy?.cutSubscribers();
    if (rig.proxy !== undefined) {
      await other.calls.until((call) => call.startsWith("hub:marker own"), "the greeting");
      await greeted.changes.until((state) => state.live, "a live bus");
    }
    await backend.publish("to:last:one", "1");
    await other.calls.until((call) => call === "to:last:one 1", "the last message");
    await greeted.calls.until((call) => call === "to:last:one 1", "the last message");
    expect(seen).toBeGreaterThan(0);
    const number = greeted.greetings.length;
    // Of the newer of the two greetings, which both received.
    const own = greeted.calls.all.filter((call) => !call.startsWith("greeting"));
    const at = rig.proxy === undefined ? "hub:marker other 1" : `hub:marker own ${number}`;
    const tail = (calls: readonly string[]): string[] =>
      calls.slice(calls.lastIndexOf(at), calls.lastIndexOf("to:last:one 1") + 1);
    expect(tail(own)).toEqual(tail(other.calls.all));
    expect(tail(own).length).toBeGreaterThan(1);
    await bus.stop();
  });
});

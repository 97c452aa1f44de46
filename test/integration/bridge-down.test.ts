import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type PhoenixClient, VERSIONS } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

/** JSON that changes when it is parsed and serialized again. */
const UNSTABLE_JSON = [
  "{}",
  '{"b":1,"a":2,"b":3}',
  '{"big":12345678901234567890,"tiny":1e-400,"precise":3.14159265358979323846264338327950288,"minus":-0}',
  ' \t\r\n{ "spaced" :\t[ 1 ,2 ],\r\n"x":{ } }\n',
  '{"escaped":"\\u00e9\\/\\ud83d\\ude00","plain":"é😀","lone":"\\ud800","separator":"\u2028"}',
  '{"__proto__":{"polluted":true}}',
  '{"2":"two","1":"one"}',
  "[]",
  `[${'{"deep":['.repeat(500)}${"]}".repeat(500)}]`,
];

const SCALARS = ['"data"', ' "data" ', "1", "-1.5e+3", "true", "false", "null", '""', '"\\""'];

for (const bus of BUSES) {
  describe(`downstream on ${bus}`, () => {
    let world: World;
    let v2: PhoenixClient;
    let v1: PhoenixClient;
    const both = (): PhoenixClient[] => [v2, v1];
    let marks = 0;

    /** Everything that both clients received up to a message published now. */
    const arrived = async (channel: string): Promise<string[][]> => {
      const event = `mark-${++marks}`;
      await world.backend.publish(`to:${channel}:${event}`, "1");
      const seen: string[][] = [];
      for (const client of both()) {
        const events: string[] = [];
        await client.frames.until((each) => {
          if (each.event !== event) events.push(`${each.topic} ${each.event} ${each.text}`);
          return each.event === event;
        });
        seen.push(events);
      }
      return seen;
    };

    beforeAll(async () => {
      world = await startWorld(bus, {
        toml: `[limits]\nmax_payload = "64KiB"\n[channels."quiet*"]\npresence = false\n`,
      });
      v2 = await world.connect({ vsn: "2.0.0" });
      v1 = await world.connect({ vsn: "1.0.0" });
      for (const client of both()) {
        for (const topic of ["quiet", "quiet:with:colons"]) {
          await client.join(topic, { token: world.token(topic) });
        }
        await client.fence();
      }
    });
    afterAll(() => world.stop());

    test("copies JSON into the frame byte for byte", async () => {
      for (const payload of UNSTABLE_JSON) {
        await world.backend.publish("to:quiet:news", payload);
        for (const client of both()) {
          const { text, topic, ref, joinRef, kind } = await client.event("news");
          expect(kind).toBe("text");
          expect(text).toContain(payload);
          expect([topic, ref]).toEqual(["quiet", null]);
          if (client === v2) {
            expect(joinRef).toBeNull();
            expect(text).toBe(`[null,null,"quiet","news",${payload}]`);
          }
        }
      }
    });

    test("accepts scalars as JSON", async () => {
      for (const payload of SCALARS) {
        await world.backend.publish("to:quiet:update", payload);
        for (const client of both()) {
          const frame = await client.event("update");
          expect(frame.kind).toBe("text");
          expect(frame.payload).toEqual(JSON.parse(payload));
          expect(frame.text).toContain(payload);
        }
      }
    });

    test("the event is the text after the last colon", async () => {
      await world.backend.publish("to:quiet:with:colons:message", "1");
      for (const client of both()) {
        expect((await client.event("message")).topic).toBe("quiet:with:colons");
      }
    });

    test("delivers names that need JSON escapes unchanged", async () => {
      for (const event of ['say "hi"', "back\\slash", "tab-less é😀\u2028", "__proto__"]) {
        await world.backend.publish(`to:quiet:${event}`, "[1]");
        for (const client of both()) {
          const frame = await client.frames.next();
          expect([frame.event, frame.payload]).toEqual([event, [1]]);
        }
      }
    });

    test("drops an empty payload", async () => {
      await world.backend.publish("to:quiet:empty", "");
      expect(await arrived("quiet")).toEqual([[], []]);
    });

    test("delivers a payload of exactly max_payload, text and binary", async () => {
      const text = `"${"x".repeat(64 * 1024 - 2)}"`;
      await world.backend.publish("to:quiet:large", text);
      await world.backend.publish("to:quiet:large", Buffer.alloc(64 * 1024, 0xfe));
      for (const client of both()) {
        expect((await client.event("large")).payload).toBe(JSON.parse(text));
        const { payload } = await client.event("large");
        expect(
          client === v2 ? Buffer.from(Object(payload)).length : JSON.stringify(payload).length,
        ).toBeGreaterThan(64 * 1024 - 1);
      }
    });

    if (bus === "redis") {
      test("drops a payload over max_payload", async () => {
        await world.backend.publish("to:quiet:over", `"${"x".repeat(64 * 1024 - 1)}"`);
        await world.backend.publish("to:quiet:over", Buffer.alloc(64 * 1024 + 1, 0xfe));
        expect(await arrived("quiet")).toEqual([[], []]);
      });
    }

    test("drops protocol events that a backend publishes", async () => {
      for (const event of [
        ...["phx_join", "phx_leave", "phx_reply", "phx_close", "phx_error"],
        ...["heartbeat", "presence_state", "presence_diff"],
      ]) {
        await world.backend.publish(
          `to:quiet:${event}`,
          '{"status":"ok","response":{},"joins":{},"leaves":{}}',
        );
      }
      expect(await arrived("quiet")).toEqual([[], []]);
    });

    test("ignores names that do not match the grammar", async () => {
      const long = `to:quiet:${"e".repeat(256)}`;
      for (const name of [
        "to:",
        "to::",
        "to:quiet",
        "to:quiet:",
        "to::news",
        "to:quiet::",
        "TO:quiet:news",
        long,
      ]) {
        await world.backend.publish(name, '{"a":1}');
      }
      const invalid = Buffer.from("to:quiet:news?");
      invalid[invalid.length - 1] = 0xff;
      await world.backend.publish(invalid, '{"a":1}');
      expect(await arrived("quiet")).toEqual([[], []]);
      await world.backend.publish(`to:quiet:${"e".repeat(255)}`, "1");
      for (const client of both()) await client.event("e".repeat(255));
    });

    test("does not treat a channel name as a pattern", async () => {
      const channels = ["*", "[a-z]", "?", "quiet*", "\\q", "^", "quiet:*", "{id}"];
      const clients: PhoenixClient[] = [];
      for (const vsn of VERSIONS) {
        const client = await world.connect({ vsn });
        for (const channel of channels) {
          expect((await client.join(channel, { token: world.token(channel) })).status).toBe("ok");
        }
        clients.push(client);
      }
      for (const channel of ["quiet", "a", "q", ...channels, "quiet:with:colons"]) {
        await world.backend.publish(`to:${channel}:plain`, JSON.stringify(channel));
      }
      for (const client of clients) {
        for (const channel of channels) {
          const frame = await client.event("plain");
          expect([frame.topic, frame.payload]).toEqual([channel, channel]);
        }
      }
      // A push is not treated as a pattern either.
      const received = await world.backend.listen("from:*");
      await clients[0]?.ask({ topic: "*", event: "news" });
      expect((await received.next()).name).toBe("from:*:news");
    });

    test("delivers the messages of one publisher to one channel in order to every client", async () => {
      const COUNT = 3000;
      const clients = [...both()];
      for (const vsn of VERSIONS) {
        for (let i = 0; i < 4; i++) {
          const client = await world.connect({ vsn });
          await client.join("quiet", { token: world.token("quiet") });
          clients.push(client);
        }
      }
      const sent: Promise<number>[] = [];
      for (let i = 0; i < COUNT; i++) {
        // Text and binary use different code paths in the server.
        sent.push(world.backend.publish("to:quiet:n", i % 3 === 0 ? `n${i}` : String(i)));
      }
      await Promise.all(sent);
      for (const client of clients) {
        for (let i = 0; i < COUNT; i++) {
          const { payload } = await client.event("n");
          const got = Buffer.isBuffer(payload) ? payload.toString() : String(payload);
          if (got !== (i % 3 === 0 ? `n${i}` : String(i))) throw new Error(`at ${i} came ${got}`);
        }
      }
    }, 20_000);
  });
}

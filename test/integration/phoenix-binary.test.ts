import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Socket } from "phoenix";
import { encodeBinary, VERSIONS } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

/** All 256 byte values: not valid UTF-8. */
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

for (const bus of BUSES) {
  describe(`binary on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: `[channels."quiet*"]\npresence = false\n` });
    });
    afterAll(() => world.stop());

    test("publishes a push as raw bytes and replies in text", async () => {
      const topic = "quiet:up";
      const client = await world.connect();
      await client.join(topic, { token: world.token(topic) });
      const received = await world.backend.listenToPushes(topic);
      for (const data of [BYTES, Buffer.alloc(0), Buffer.from("{}"), Buffer.alloc(500_000, 7)]) {
        client.sendBinary(encodeBinary({ joinRef: "1", ref: "b", topic, event: "bytes", data }));
        const message = await received.next();
        expect(message.name).toBe(`from:${topic}:bytes`);
        expect(message.payload.equals(data)).toBe(true);
        const reply = await client.reply("b");
        expect(reply).toMatchObject({ status: "ok", response: {} });
        expect(reply.frame).toMatchObject({ joinRef: "1", ref: "b", topic, kind: "text" });
      }
    });

    test("accepts a push with an empty join_ref for the current membership, ignores one with a stale join_ref", async () => {
      const topic = "quiet:refs";
      const client = await world.connect();
      await client.join(topic, { token: world.token(topic) });
      await client.join(topic, { token: world.token(topic) });
      const received = await world.backend.listenToPushes(topic);
      const data = Buffer.from("x");
      client.sendBinary(encodeBinary({ joinRef: "1", ref: "a", topic, event: "stale", data }));
      client.sendBinary(encodeBinary({ joinRef: "", ref: "b", topic, event: "current", data }));
      expect((await client.reply("b")).status).toBe("ok");
      expect((await received.next()).name).toBe(`from:${topic}:current`);
      expect(client.frames.all.filter((each) => each.ref === "a")).toEqual([]);
    });

    test("replies in text to a rejected push", async () => {
      const client = await world.connect();
      await client.join("quiet", { token: world.token("quiet") });
      const data = Buffer.from("x");
      client.sendBinary(encodeBinary({ joinRef: "1", ref: "a", topic: "quiet:no", event: "x", data }));
      expect((await client.reply("a")).response).toEqual({ reason: "unmatched topic" });
      client.sendBinary(encodeBinary({ joinRef: "1", ref: "b", topic: "quiet", event: "a:b", data }));
      expect((await client.reply("b")).response).toEqual({ reason: "invalid event" });
    });

    test("sends a backend's bytes to V2 clients unchanged, as kind 0 with an empty join_ref", async () => {
      const topic = "quiet:dön";
      const client = await world.connect();
      await client.join(topic, { token: world.token(topic) });
      await world.backend.publish(`to:${topic}:bytes`, BYTES);
      const frame = await client.frames.next();
      const name = Buffer.from(topic);
      const expected = [Buffer.from([0, 0, name.length, 5]), name, Buffer.from("bytes"), BYTES];
      expect(frame.text).toBe(Buffer.concat(expected).toString("hex"));
    });

    test("accepts topic and event names of the maximum length", async () => {
      const topic = `quiet${"t".repeat(250)}`;
      const event = `${"é".repeat(127)}e`;
      const client = await world.connect();
      await client.join(topic, { token: world.token(topic) });
      await world.backend.publish(`to:${topic}:${event}`, BYTES);
      const frame = await client.frames.next();
      expect([frame.kind, frame.topic, frame.event]).toEqual(["binary push", topic, event]);
      expect(frame.payload).toEqual(BYTES);
      const received = await world.backend.listenToPushes(topic);
      client.sendBinary(encodeBinary({ joinRef: "1", ref: "r".repeat(64), topic, event, data: BYTES }));
      expect((await client.reply("r".repeat(64))).status).toBe("ok");
      expect((await received.next()).name).toBe(`from:${topic}:${event}`);
    });

    test("sends text that is not JSON as binary", async () => {
      const client = await world.connect();
      await client.join("quiet", { token: world.token("quiet") });
      for (const text of [
        "Hello from plugin",
        "{'a':1}",
        "NaN",
        "01",
        '{"a":1,}',
        '"\u0001"',
        "﻿{}",
        "{} {}",
        " ",
      ]) {
        await world.backend.publish("to:quiet:text", text);
        const frame = await client.event("text");
        expect([text, frame.kind]).toEqual([text, "binary push"]);
        expect(frame.payload).toEqual(Buffer.from(text));
      }
    });

    for (const how of ["V1", "?binary=json"] as const) {
      test(`with ${how} sends bytes as a string when they are UTF-8, else as base64`, async () => {
        const client = await world.connect(how === "V1" ? { vsn: "1.0.0" } : { params: { binary: "json" } });
        await client.join("quiet", { token: world.token("quiet") });
        const cases: [Buffer, unknown][] = [
          [Buffer.from("Hello from plugin"), "Hello from plugin"],
          [Buffer.from('é😀 "\\ \u2028\u0000\n'), 'é😀 "\\ \u2028\u0000\n'],
          [BYTES, { base64: BYTES.toString("base64") }],
          [Buffer.from([0xff]), { base64: "/w==" }],
          [Buffer.from([0xed, 0xa0, 0x80]), { base64: "7aCA" }],
        ];
        for (const [data, payload] of cases) {
          await world.backend.publish("to:quiet:data", data);
          const frame = await client.event("data");
          expect(frame.kind).toBe("text");
          expect(frame.payload).toEqual(payload);
        }
        await world.backend.publish("to:quiet:data", '{"a":[1]}');
        expect((await client.event("data")).payload).toEqual({ a: [1] });
      });
    }

    test("phoenix.js sends and receives an ArrayBuffer", async () => {
      const topic = "quiet:js";
      const received = await world.backend.listenToPushes(topic);
      const socket = new Socket(`${world.channel.url.replace("http", "ws")}/socket`, {});
      try {
        socket.connect();
        const channel = socket.channel(topic, { token: world.token(topic) });
        const got = Promise.withResolvers<unknown>();
        channel.on("bytes", (payload: unknown) => got.resolve(payload));
        await settled(channel.join());
        const pushed = settled(channel.push("up", new Uint8Array(BYTES).buffer));
        const up = await received.until((each) => each.name === `from:${topic}:up`, "the push");
        expect(up.payload.equals(BYTES)).toBe(true);
        await pushed;
        await world.backend.publish(`to:${topic}:bytes`, BYTES);
        const payload = await got.promise;
        expect(payload instanceof ArrayBuffer && Buffer.from(payload).equals(BYTES)).toBe(true);
      } finally {
        socket.disconnect();
      }
    });

    test("delivers one message to members of every protocol version and transport", async () => {
      const clients = await Promise.all([
        ...VERSIONS.map((vsn) => world.connect({ vsn })),
        world.connect({ params: { binary: "json" } }),
      ]);
      for (const client of clients) await client.join("quiet", { token: world.token("quiet") });
      await world.backend.publish("to:quiet:data", "plain");
      await world.backend.publish("to:quiet:data", '{"n":1}');
      const got: unknown[] = [];
      for (const client of clients) {
        const first = await client.event("data");
        const second = await client.event("data");
        got.push([first.payload, second.payload]);
      }
      expect(got).toEqual([
        [Buffer.from("plain"), { n: 1 }],
        ["plain", { n: 1 }],
        ["plain", { n: 1 }],
      ]);
    });
  });
}

/** The reply to a push of phoenix.js. */
function settled(push: ReturnType<ReturnType<Socket["channel"]>["push"]>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", resolve)
      .receive("error", (response: unknown) => reject(new Error(JSON.stringify(response))))
      .receive("timeout", () => reject(new Error("timeout")));
  });
}

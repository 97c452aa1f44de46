import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { encodeBinary, type PhoenixClient, VERSIONS } from "./phoenix-client.ts";
import { BINARY, type Closed, frame, TEXT } from "./websocket.ts";
import { startWorld, type World } from "./world.ts";

/** Timeout for a close delayed by 2 to 5 s (phoenix.md), with a margin for a busy machine. */
const LINGER = { from: 1900, to: 6000 };

const TEXTS = {
  both: [
    "",
    " ",
    "hello",
    "null",
    "7",
    '"text"',
    "tru",
    "{",
    "[",
    "[]",
    "{}",
    "[1,2,3]",
    "]",
    "[[[[[",
    '{"a"',
  ],
  "2.0.0": [
    '["1","1","room","news"]',
    '["1","1","room","news",{},{}]',
    '["1","1","room","news",{}',
    '["1","1","room","news",{}]]',
    '["1","1","room","news",{}],',
    '["1","1","room","news",]',
    '["1","1","room","news",{"a":}]',
    '["1","1","room","news",01]',
    '["1","1",7,"news",{}]',
    '["1","1",null,"news",{}]',
    '["1","1","room",null,{}]',
    '["1","1","room",["news"],{}]',
    '["1",true,"room","news",{}]',
    '[{},"1","room","news",{}]',
    '{"topic":"room","event":"news","payload":{},"ref":"1"}',
  ],
  "1.0.0": [
    '["1","1","room","news",{}]',
    '{"topic":"room","event":"news","payload":{},"ref":"1"',
    '{"topic":"room","event":"news","payload":{},"ref":"1"}}',
    '{"topic":"room","event":"news","payload":{"a":},"ref":"1"}',
    '{"topic":7,"event":"news","payload":{},"ref":"1"}',
    '{"event":"news","payload":{},"ref":"1"}',
    '{"topic":"room","event":null,"payload":{},"ref":"1"}',
    '{"topic":"room","payload":{},"ref":"1"}',
    '{"topic":"room","event":"news","payload":{},"ref":{}}',
    '{"topic":"room","event":"news","payload":{},"ref":false}',
  ],
} as const;

const push = encodeBinary({ joinRef: "1", ref: "2", topic: "room", event: "news", data: Buffer.from("x") });
const BINARIES = [
  Buffer.alloc(0),
  Buffer.from([0]),
  Buffer.from([0, 1, 1, 1]),
  Buffer.from([0, 255, 255, 255, 255]),
  push.subarray(0, 8),
  Buffer.concat([Buffer.from([1]), push.subarray(1)]),
  Buffer.concat([Buffer.from([2]), push.subarray(1)]),
  Buffer.concat([Buffer.from([255]), push.subarray(1)]),
  encodeBinary({ joinRef: "1", ref: "r".repeat(65), topic: "room", event: "news", data: Buffer.from("x") }),
];

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", { toml: `presence_window = "10ms"\n` });
});
afterAll(() => world.stop());

/** Sends at most eight malformed frames on a connection: the tenth within a minute would close it. */
async function expectMalformed<T>(
  faults: readonly T[],
  connect: () => Promise<PhoenixClient>,
  send: (client: PhoenixClient, fault: T) => void,
): Promise<void> {
  for (let i = 0; i < faults.length; i += 8) {
    const client = await connect();
    for (const fault of faults.slice(i, i + 8)) {
      send(client, fault);
      const error = await client.frames.next();
      expect([fault, error.topic, error.event, error.ref]).toEqual([fault, "phoenix", "phx_error", null]);
      if (client.version === "2.0.0") expect(error.joinRef).toBeNull();
      expect(error.payload).toEqual({ reason: expect.stringMatching(/^malformed frame: .+/) });
    }
    expect(await client.fence()).toEqual([]);
    client.socket.cut();
  }
}

for (const vsn of VERSIONS) {
  describe.concurrent(`a malformed frame, ${vsn}`, () => {
    test("is answered with the error, and the socket stays open", async () => {
      await expectMalformed(
        [...TEXTS.both, ...TEXTS[vsn]],
        () => world.connect({ vsn }),
        (client, text) => client.sendText(text),
      );
    });

    test("does not end memberships", async () => {
      const client = await world.connect({ vsn });
      await client.join("room", { token: world.token("room") });
      client.sendText("hello");
      await client.event("phx_error");
      await world.backend.publish("to:room:news", "1");
      await client.event("news");
    });

    test("closes with 1008 when it is the tenth within a minute; memberships end at once", async () => {
      const watcher = await world.connect();
      await watcher.join(`room:${vsn}`, { token: world.token(`room:${vsn}`, { id: "watcher" }) });
      const client = await world.connect({ vsn });
      await client.join(`room:${vsn}`, { token: world.token(`room:${vsn}`, { id: "faulty" }) });
      for (let i = 0; i < 9; i++) client.sendText("hello");
      await client.fence();
      const tenth = performance.now();
      client.sendText("hello");
      client.send({ topic: `room:${vsn}`, event: "after", ref: "after" });
      await watcher.frames.until(
        (each) => each.event === "presence_diff" && /"leaves":\{"faulty"/.test(each.text),
        "the leave of the faulty one",
      );
      expect(client.socket.isClosed).toBe(false);
      await world.backend.publish(`to:room:${vsn}:news`, "1");
      await watcher.event("news");
      const closed: Closed = await client.socket.closed;
      expect(closed.code).toBe(1008);
      expect(performance.now() - tenth).toBeGreaterThan(LINGER.from);
      const events = client.frames.all.map((each) => each.event);
      expect(events.filter((each) => each === "phx_error").length).toBeWithin(9, 12);
      expect(events).not.toContain("news");
      expect(client.frames.all.filter((each) => each.ref === "after")).toEqual([]);
    }, 15_000);
  });
}

describe("a malformed binary frame", () => {
  test("is answered with the error, and the socket stays open", async () => {
    await expectMalformed(
      BINARIES,
      () => world.connect(),
      (client, data) => client.sendBinary(data),
    );
  });

  test("is every binary frame on V1", async () => {
    await expectMalformed(
      [push, Buffer.alloc(0)],
      () => world.connect({ vsn: "1.0.0" }),
      (client, data) => client.sendBinary(data),
    );
  });

  test("with names that are not UTF-8 is rejected, and the socket stays open", async () => {
    const client = await world.connect();
    const data = Buffer.from(push);
    data[data.length - 2] = 0xff;
    client.sendBinary(data);
    expect((await client.frames.next()).text).toMatch(/malformed frame|invalid event|unmatched topic/);
    await client.fence();
  });

  test("is answered in V2 when it is the first frame of a connection without vsn", async () => {
    const client = await world.connect({ vsn: null });
    client.sendBinary(Buffer.from([9]));
    expect((await client.frames.next()).text).toMatch(
      /^\[null,null,"phoenix","phx_error",\{"reason":"malformed frame: .+"\}\]$/,
    );
  });
});

describe("a frame over the limit", () => {
  const LIMIT = 1024 * 1024;

  test("of exactly max_frame is accepted", async () => {
    const client = await world.connect();
    const around = client.encode({ topic: "room", event: "news", ref: "1", payload: '""' });
    const payload = `"${"x".repeat(LIMIT - Buffer.byteLength(around))}"`;
    client.send({ topic: "room", event: "news", ref: "1", payload });
    expect((await client.reply("1")).response).toEqual({ reason: "unmatched topic" });
  });

  for (const opcode of [TEXT, BINARY]) {
    test(`closes with 1009 at once (opcode ${opcode})`, async () => {
      const client = await world.connect();
      client.socket.write(frame(opcode, Buffer.alloc(LIMIT + 1, 0x20)));
      expect((await client.socket.closed).code).toBe(1009);
    });
  }

  test("that only declares a huge length closes with 1009", async () => {
    const client = await world.connect();
    client.socket.write(
      Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]),
    );
    expect((await client.socket.closed).code).toBe(1009);
  });
});

describe("invalid WebSocket frames", () => {
  test("invalid UTF-8 in a text frame closes with 1007", async () => {
    const client = await world.connect();
    client.sendText(Buffer.from([0x5b, 0xff, 0x5d]));
    expect((await client.socket.closed).code).toBe(1007);
  });

  test("a reserved opcode or an unmasked frame closes the connection", async () => {
    for (const bytes of [
      frame(3, "x"),
      Buffer.from([0x81, 1, 0x78]),
      Buffer.from([0xf1, 0x81, 0, 0, 0, 0, 1]),
    ]) {
      const client = await world.connect();
      client.socket.write(bytes);
      expect((await client.socket.closed).code).toBeOneOf([1002, 1006]);
    }
    await (await world.connect()).fence();
  });
});

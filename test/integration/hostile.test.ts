import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import {
  encodeBinary,
  encodeText,
  eventually,
  type PhoenixClient,
  VERSIONS,
  type Version,
} from "./phoenix-client.ts";
import { type Random, randomFrom, SEED } from "./random.ts";
import { BINARY, frame, openWebSocket, TEXT } from "./websocket.ts";
import { ADMIN_SECRET, BUSES, SECRET, startWorld, type World } from "./world.ts";

const HOSTILE_NAMES = [
  ...[
    "__proto__",
    "constructor",
    "toString",
    "",
    " ",
    "*",
    "a:b",
    "\u0000",
    "x\ud800",
    "é😀",
    "a".repeat(300),
  ],
  ...[
    "phoenix",
    "system",
    "admin",
    "lobby",
    "phx_join",
    "phx_leave",
    "phx_reply",
    "heartbeat",
    "access_token",
  ],
  ...["presence_state", "presence_diff", "news", "channel.add", "to:lobby:x", "\u2028"],
];
const PAYLOADS = [
  ...[
    "{}",
    "[]",
    "null",
    "0",
    '""',
    '{"token":null}',
    '{"token":{"token":"x"}}',
    '{"__proto__":{"token":"x"}}',
  ],
  ...['{"token":"__proto__"}', '{"token":"a.b.c"}', '{"token":["x"]}', '{"length":-1}', '"\\ud800"', "1e999"],
  `${"[".repeat(5000)}${"]".repeat(5000)}`,
  `${`{"a":`.repeat(3000)}1${"}".repeat(3000)}`,
];

for (const bus of BUSES) {
  describe(`hostile clients on ${bus}`, () => {
    let world: World;
    const tokens: string[] = [];
    const goodToken = (): string => {
      const token = world.token("lobby", { id: "__proto__", jti: randomBytes(4).toString("hex") });
      tokens.push(token);
      return token;
    };
    /** A well-behaved client that must not be affected. */
    let observer: PhoenixClient;
    let asked = 0;

    beforeAll(async () => {
      world = await startWorld(bus, {
        args: ["--log-level", "debug"],
        toml: "[limits]\nframes_per_second = 100000\n",
      });
      observer = await world.connect();
      await observer.join("calm", { token: world.token("calm") });
    });
    afterAll(() => world.stop());

    const expectAlive = async (): Promise<void> => {
      await observer.fence();
      const event = `alive-${++asked}`;
      await world.backend.publish(`to:calm:${event}`, "1");
      await observer.event(event);
      const newcomer = await world.connect();
      expect((await newcomer.join("lobby", { token: goodToken() })).status).toBe("ok");
      newcomer.socket.cut();
      expect((await fetch(`${world.channel.url}/health`)).status).toBe(200);
    };

    /** Sends frames and reconnects when the server closes the connection. Every frame received must be valid. */
    const sendRounds = async (
      version: Version,
      next: () => readonly Uint8Array[],
      rounds: number,
    ): Promise<void> => {
      let client = await world.connect({ vsn: version });
      for (let round = 0; round < rounds; round++) {
        if (
          client.socket.isClosed ||
          client.frames.all.filter((each) => each.topic === "phoenix").length > 8
        ) {
          client.socket.cut();
          client = await world.connect({ vsn: version });
        }
        client.socket.write(...next());
        await client.fence().catch((error: unknown) => {
          if (!/closed with (1008|1009|1007|1002|1006)|nothing within/.test(String(error))) throw error;
        });
      }
      client.socket.cut();
    };

    for (const vsn of VERSIONS) {
      test(`survives frames with hostile names, refs and payloads in random order, ${vsn}`, async () => {
        const random = randomFrom(SEED);
        const ref = (): string | number | null =>
          random.pick([null, "1", "2", 1, -1, 1e21, "", "r".repeat(64), "\ud800", "__proto__"]);
        const one = (): Uint8Array => {
          const payload = random.chance(0.2) ? JSON.stringify({ token: goodToken() }) : random.pick(PAYLOADS);
          return frame(
            TEXT,
            encodeText(
              {
                joinRef: ref(),
                ref: ref(),
                topic: random.pick(HOSTILE_NAMES),
                event: random.pick(HOSTILE_NAMES),
                payload,
              },
              vsn,
            ),
          );
        };
        await sendRounds(vsn, () => Array.from({ length: 10 }, one), 80);
        await expectAlive();
      }, 30_000);

      test(`survives valid frames with mutated bytes, ${vsn}`, async () => {
        const random = randomFrom(SEED + 1);
        const good = (): string =>
          encodeText(
            {
              joinRef: "1",
              ref: "2",
              topic: "lobby",
              event: random.pick(["phx_join", "phx_leave", "news", "access_token"]),
              payload: JSON.stringify({ token: goodToken(), list: [1, { a: null }] }),
            },
            vsn,
          );
        await sendRounds(vsn, () => [frame(TEXT, mutate(Buffer.from(good(), "latin1"), random))], 150);
        await expectAlive();
      }, 30_000);
    }

    test("survives random binary frames", async () => {
      const random = randomFrom(SEED + 2);
      await sendRounds(
        "2.0.0",
        () => {
          const whole = encodeBinary({
            joinRef: "1",
            ref: "2",
            topic: random.pick(["lobby", "__proto__", "phoenix"]),
            event: random.pick(["news", "phx_join", "phx_leave", "access_token", "heartbeat"]),
            data: Buffer.from(random.chance(0.5) ? "{}" : "\u0000"),
          });
          const bytes = random.chance(0.3) ? randomBytes(random.int(40)) : mutate(whole, random);
          return [frame(BINARY, bytes)];
        },
        200,
      );
      await expectAlive();
    }, 30_000);

    test("survives binary pushes of protocol events", async () => {
      const client = await world.connect();
      for (const event of ["phx_join", "phx_leave", "access_token", "phx_reply", "phx_close"]) {
        client.sendBinary(
          encodeBinary({ joinRef: "1", ref: event, topic: "lobby", event, data: Buffer.from([0xff]) }),
        );
      }
      await client.fence();
      await expectAlive();
    });

    test("survives JSON nested 100,000 levels deep", async () => {
      const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
      for (const vsn of VERSIONS) {
        const client = await world.connect({ vsn });
        await client.join("lobby", { token: goodToken() });
        client.send({ ref: "deep", topic: "lobby", event: "news", payload: deep });
        client.send({
          ref: "deeper",
          topic: "lobby",
          event: "phx_join",
          payload: `{"a":${deep},"token":"x"}`,
        });
        client.sendText(deep);
        client.sendText("[".repeat(500_000));
        await client.fence();
      }
      await world.backend.publish("to:lobby:deep", deep);
      await expectAlive();
    }, 20_000);

    test("survives a field of 900,000 characters", async () => {
      const long = "x".repeat(900_000);
      for (const vsn of VERSIONS) {
        const client = await world.connect({ vsn });
        client.send({ ref: "1", topic: long, event: "phx_join" });
        expect((await client.reply("1")).response).toEqual({ reason: "invalid topic" });
        client.send({ ref: long, topic: "lobby", event: "news" });
        await client.event("phx_error");
        client.send({
          ref: "2",
          topic: "lobby",
          event: "phx_join",
          payload: JSON.stringify({ token: long }),
        });
        expect((await client.reply("2")).response).toMatchObject({ reason: "unauthorized" });
        await client.join("lobby", { token: goodToken() });
        expect((await client.ask({ topic: "lobby", event: long })).response).toEqual({
          reason: "invalid event",
        });
      }
      await expectAlive();
    }, 20_000);

    test("survives thousands of joins and leaves of one topic, out of order and repeated", async () => {
      const random = randomFrom(SEED + 3);
      const token = goodToken();
      for (const vsn of VERSIONS) {
        const client = await world.connect({ vsn });
        client.sendTogether(
          Array.from({ length: 3000 }, (_, i) => ({
            joinRef: String(random.int(5)),
            ref: String(i),
            topic: "lobby",
            event: random.pick(["phx_join", "phx_join", "phx_leave", "news"]),
            payload: JSON.stringify({ token }),
          })),
        );
        await client.fence();
        client.socket.cut();
      }
      await expectAlive();
    }, 30_000);

    test("survives an incomplete frame, an unfinished fragment and a client that sends nothing", async () => {
      const client = await world.connect();
      client.socket.write(frame(TEXT, '["1"').subarray(0, 5));
      const other = await world.connect();
      other.socket.write(Buffer.from([0x01, 0x81, 0, 0, 0, 0, 0x5b]));
      const third = await world.connect();
      third.socket.write(frame(0, "a continuation of nothing"));
      await expectAlive();
      client.socket.cut();
      other.socket.cut();
      third.socket.cut();
    });

    test("survives oversized URLs and headers", async () => {
      const paths = [
        "/websocket?vsn=%",
        "/websocket?vsn=2.0.0&vsn=1.0.0",
        "/websocket?vsn=2.0.0&userToken=%FF%FE&token=%00",
        `/websocket?vsn=2.0.0&token=${"t".repeat(10_000)}`,
        `/websocket?vsn=${"2".repeat(30_000)}`,
        "/websocket?__proto__=1&vsn[]=2",
        "/%2e%2e/%00/websocket",
        "//websocket",
      ];
      for (const path of paths) {
        const answer = await openWebSocket(world.channel.url + path).catch(() => null);
        if (answer !== null && "messages" in answer) {
          const status = await answer.close();
          expect(status.code).toBeGreaterThan(0);
        }
      }
      for (const headers of [
        { "sec-websocket-version": "12" },
        { "sec-websocket-key": "short" },
        { "sec-websocket-protocol": ",,," },
        { "sec-websocket-protocol": `phoenix, base64url.bearer.phx.${"A".repeat(9000)}` },
        { "sec-websocket-protocol": "phoenix, base64url.bearer.phx.%%%, base64url.bearer.phx." },
        { origin: "x".repeat(5000) },
        { host: "" },
        { host: "a b" },
        { upgrade: "h2c" },
      ]) {
        const answer = await openWebSocket(`${world.channel.url}/websocket?vsn=2.0.0`, headers).catch(
          () => null,
        );
        if (answer !== null && "messages" in answer) answer.cut();
      }
      await expectAlive();
    }, 20_000);

    test("survives bytes that are not HTTP", async () => {
      const { port } = world.channel;
      for (const bytes of [
        randomBytes(2000),
        Buffer.from("GET /websocket\r\n\r\n"),
        Buffer.from("\r\n".repeat(500)),
      ]) {
        await new Promise<void>((resolve) => {
          const socket = connect({ host: "127.0.0.1", port }, () => socket.end(bytes));
          socket.on("data", () => {});
          socket.on("error", () => resolve());
          socket.on("close", () => resolve());
        });
      }
      await expectAlive();
    }, 20_000);

    test("leave no member, no secret and no stack trace in the log, and the server exits with 0", async () => {
      world.cutClients();
      await eventually(async () => {
        const late = await world.connect();
        await late.join("lobby", { token: world.token("lobby", { id: "last" }) });
        const state = await late.event("presence_state");
        late.socket.cut();
        return Object.getOwnPropertyNames(Object(state.payload)).join() === "last";
      }, "an empty lobby");
      expect(await world.channel.stop()).toBe(0);
      const log = world.channel.output();
      for (const secret of [
        SECRET,
        ADMIN_SECRET,
        ...tokens.map((each) => each.slice(each.lastIndexOf(".") + 1)),
      ]) {
        expect(log.includes(secret)).toBe(false);
      }
      expect(log).not.toMatch(/userToken=|token=/);
      expect(log).not.toMatch(/^\s+at /m);
      expect(world.channel.lines.filter((each) => each.level === "unparsed")).toEqual([]);
      expect(world.channel.lines.filter((each) => each.level === "error")).toEqual([]);
    }, 20_000);
  });
}

/** Changes, removes or repeats a few bytes. */
function mutate(bytes: Buffer, random: Random): Buffer {
  let mutated: Buffer = Buffer.from(bytes);
  for (let i = 1 + random.int(4); i > 0 && mutated.length > 0; i--) {
    const at = random.int(mutated.length);
    const dice = random.int(4);
    if (dice === 0) mutated[at] = random.int(128);
    else if (dice === 1)
      mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + 1 + random.int(8))]);
    else if (dice === 2)
      mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(Math.max(0, at - 6))]);
    else mutated[at] = random.pick([0x22, 0x5b, 0x5d, 0x7b, 0x7d, 0x2c, 0x3a, 0x5c, 0x00, 0x20]);
  }
  return mutated;
}

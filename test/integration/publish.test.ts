import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Answer, call } from "./api-client.ts";
import { startChannel } from "./channel-process.ts";
import { eventually } from "./phoenix-client.ts";
import { startRedis } from "./redis-process.ts";
import { ADMIN_SECRET, BUSES, startWorld, type World } from "./world.ts";

const MIB = 1024 * 1024;

/** Payloads that a parser and printer would change, or could not pass on. */
const PAYLOADS: readonly (readonly [string, string])[] = [
  ["numbers", '{"n":12345678901234567890,"f":1.0,"e":1E400,"z":-0.0e-0,"small":1e-400}'],
  ["duplicate and odd names", '{"a":1,"a":2,"__proto__":{"x":1},"__proto__":2,"constructor":null,"":0}'],
  ["escapes", '"\\ud83d\\ude00 \\u0061\\/\\ud800 é😀\\u0000"'],
  ["white space", '{ "a" : [ 1 ,\r\n\t2 ] }'],
  ["null", "null"],
  ["false", "false"],
  ["zero", "0"],
  ["an empty text", '""'],
  ["depth", `${'{"a":['.repeat(1000)}1${"]}".repeat(1000)}`],
  // Exactly `max_payload`.
  ["4 MiB", `"${"\\\\é".repeat(MIB - 1)}xy"`],
];

describe.each(BUSES)("POST /api/publish with the %s bus", (bus) => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(bus, { toml: `token_endpoint = "admin"\n[channels."kept:*"]\nhistory = 100\n` });
  });
  afterAll(() => world?.stop());

  const publish = (body: unknown): Promise<Answer> => call(world.channel.url, "/api/publish", { body });

  async function connection(channel: string, user: string) {
    const client = await world.connect();
    const { response } = await client.join(channel, { token: world.token(channel, { id: user }) });
    const [id = ""] = String(Object(response).id).split(":");
    return { client, id };
  }

  test.each(PAYLOADS)(
    "passes on a payload verbatim to each target: %s",
    async (what, text) => {
      if (what === "4 MiB") expect(Buffer.byteLength(text)).toBe(4 * MIB);
      const received = await world.backend.listen("to:*");
      const { client, id } = await connection("room:v", "alice");
      const other = await connection("room:v", "bob");
      await client.join("user:alice", { token: world.token("x", { id: "alice" }) });
      const targets = [
        '"channel":"room:v"',
        '"channels":["room:v","kept:v"]',
        '"user":"alice"',
        `"channel":"room:v","connection":"${id}"`,
        `"channel":"room:v","except":["${other.id}"]`,
      ];
      for (const [i, target] of targets.entries()) {
        if (what === "4 MiB" && i !== 0 && i !== 4) continue;
        for (const body of [
          `{"payload": ${text} ,${target},"event":"e${i}"}`,
          `{${target},"payload":[1],"event":"e${i}","p\\u0061yload":${text}}`,
        ]) {
          const answer = await publish(body);
          expect([target, answer.status]).toEqual([target, 200]);
          const frame = await client.event(`e${i}`);
          expect(frame.text.endsWith(`,"e${i}",${text}]`)).toBe(true);
          if (i > 2) continue;
          const { payload: bytes } = await received.until(({ name }) => name.endsWith(`:e${i}`));
          expect(bytes.toString() === text).toBe(true);
        }
      }
      client.socket.cut();
      other.client.socket.cut();
    },
    30_000,
  );

  test("refuses a body that is no JSON, with nothing published", async () => {
    const received = await world.backend.listen("to:room:j:*");
    const post = async (body: string | Uint8Array<ArrayBuffer>): Promise<readonly [number, string]> => {
      const headers = { authorization: `Bearer ${ADMIN_SECRET}` };
      const response = await fetch(`${world.channel.url}/api/publish`, { method: "POST", headers, body });
      return [response.status, (await response.json()).code];
    };
    for (const payload of [
      "",
      "01",
      "1.",
      "NaN",
      "'a'",
      "[1,]",
      '{"a":1',
      '"\n"',
      '"\\x"',
      "1 2",
      "tru",
      "\u00a01",
    ]) {
      const body = `{"channel":"room:j","event":"e","payload":${payload}}`;
      expect([payload, ...(await post(body))]).toEqual([payload, 400, "not_json"]);
    }
    expect(await post(Buffer.from('{"channel":"room:j","event":"e","payload":"\xff"}', "latin1"))).toEqual([
      400,
      "not_json",
    ]);
    expect(await post('\ufeff{"channel":"room:j","event":"e","payload":1}')).toEqual([400, "not_json"]);
    expect(await post('{"channel":"room:j","event":"e","payload":1}{}')).toEqual([400, "not_json"]);
    expect(await post('["payload",1]')).toEqual([422, "invalid_request"]);
    await publish({ channel: "room:j", event: "last", payload: 1 });
    expect((await received.next()).name).toBe("to:room:j:last");
  });

  test("passes on a binary payload of the same limit", async () => {
    const { client, id } = await connection("room:b", "alice");
    for (const to of [{ connection: id }, { except: ["nobody"] }]) {
      await publish({ channel: "room:b", ...to, event: "own", base64: "/wAK" });
      expect((await client.event("own")).payload).toEqual(new Uint8Array([255, 0, 10]));
    }
    const bytes = Buffer.alloc(4 * MIB, "\xff\x00a", "latin1");
    const body = { channel: "room:b", event: "raw", base64: bytes.toString("base64") };
    expect((await publish(body)).status).toBe(200);
    expect(bytes.equals(Buffer.from(Object((await client.event("raw")).payload)))).toBe(true);
    const more = Buffer.concat([bytes, Buffer.from("b")]).toString("base64");
    expect(await publish({ ...body, base64: more })).toMatchObject({
      status: 413,
      body: { code: "payload_too_large" },
    });
    client.socket.cut();
  }, 30_000);

  test("publishes once for each id, at once or later", async () => {
    const received = await world.backend.listen("to:kept:id:*");
    const body = { channel: "kept:id", event: "e", payload: 1, id: "one" };
    const answers = await Promise.all(Array.from({ length: 10 }, () => publish(body)));
    const later = await publish(body);
    expect(answers.filter(({ body: { repeated } }) => repeated === false)).toHaveLength(1);
    const position = answers.find(({ body: { repeated } }) => repeated === false)?.body.position;
    expect(position).toBeString();
    expect(later.body).toEqual({ listeners: 0, position, repeated: true });
    expect((await publish({ ...body, id: "two", event: "last" })).body.repeated).toBe(false);
    expect([(await received.next()).name, (await received.next()).name]).toEqual([
      "to:kept:id:e",
      "to:kept:id:last",
    ]);
  });
});

test("a server that has no secret to share with others keeps ids in memory", async () => {
  const redis = await startRedis();
  const args = ["--redis-url", redis.url];
  const channel = await startChannel({ args, toml: `admin_secret = "${ADMIN_SECRET}"\n` });
  try {
    const body = { channels: ["room:1", "room:2"], event: "e", payload: 1, id: "one" };
    for (const repeated of [false, true, true]) {
      const answer = await call(channel.url, "/api/publish", { body });
      expect(answer.body).toEqual({ listeners: 0, positions: {}, repeated });
    }
    // What was not published may be repeated.
    redis.kill("SIGKILL");
    await redis.ended();
    const failed = { ...body, id: "two" };
    expect((await call(channel.url, "/api/publish", { body: failed })).status).toBe(503);
    await redis.restart();
    await eventually(async () => (await fetch(`${channel.url}/ready`)).status === 200, "a live bus");
    expect((await call(channel.url, "/api/publish", { body: failed })).body.repeated).toBe(false);
    expect((await call(channel.url, "/api/publish", { body })).body.repeated).toBe(true);
  } finally {
    await channel.stop();
    await redis.stop();
  }
}, 30_000);

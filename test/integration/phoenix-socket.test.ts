import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { encodeBinary, type Message, VERSIONS, type Version } from "./phoenix-client.ts";
import { openWebSocket, type Refusal } from "./websocket.ts";
import { startWorld, type World } from "./world.ts";

/** A client behind a trusted proxy is remote: limits apply to it that do not apply to loopback. */
const ELSEWHERE = { "x-forwarded-for": "203.0.113.7" };

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `
trusted_proxies = ["127.0.0.1"]
[channels."quiet*"]
presence = false
[limits]
connects_per_second_per_ip = 1
max_connections_per_ip = 4
`,
  });
});
afterAll(() => world.stop());

async function refused(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Refusal> {
  const answer = await openWebSocket(world.channel.url + path, {
    "x-forwarded-for": "127.0.0.1",
    ...headers,
  });
  if (!("body" in answer)) {
    answer.cut();
    throw new Error(`${path} was accepted`);
  }
  return answer;
}

/** A rejection contains a readable message. */
function expectSentence(refusal: Refusal): void {
  expect(refusal.body).toMatch(/[a-zA-Z]+ [a-zA-Z]+ [a-zA-Z]+/);
}

describe("addresses", () => {
  for (const path of ["/websocket", "/websocket/websocket", "/socket/websocket", "/a/b/c/websocket"]) {
    test(`accepts a socket at ${path}`, async () => {
      const client = await world.connect({ path });
      client.sendText('[null,"7","phoenix","heartbeat",{}]');
      expect(JSON.parse((await client.frames.next()).text)).toEqual(
        JSON.parse('[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]'),
      );
    });
  }

  test("accepts no socket at a path that does not end in /websocket", async () => {
    expect((await refused("/websockets?vsn=2.0.0")).status).toBe(404);
    expect((await refused("/a-websocket?vsn=2.0.0")).status).toBe(404);
  });

  test("are below base_path when it is set", async () => {
    const based = await startWorld("embedded", { toml: `base_path = "/live"\n` });
    try {
      await (await based.connect({ path: "/live/websocket" })).fence();
      await (await based.connect({ path: "/live/socket/websocket" })).fence();
      const answer = await openWebSocket(`${based.channel.url}/websocket?vsn=2.0.0`);
      expect(answer.status).toBe(404);
    } finally {
      await based.stop();
    }
  });

  test("do not negotiate compression", async () => {
    const client = await world.connect({
      headers: { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" },
    });
    expect(client.socket.headers.get("sec-websocket-extensions")).toBeUndefined();
    await client.fence();
  });

  test("a request that is not an upgrade is rejected with 426 and a message", async () => {
    const refusal = await refused("/websocket?vsn=2.0.0", { connection: "", upgrade: "" });
    expect(refusal.status).toBe(426);
    expectSentence(refusal);
  });
});

describe("version", () => {
  for (const vsn of ["1.0.0", "1.0.7", "2.0.0", "2.0.3"]) {
    test(`accepts ${vsn}`, async () => {
      const version: Version = vsn.startsWith("1") ? "1.0.0" : "2.0.0";
      const client = await world.connect({ vsn: null, frameVersion: version, params: { vsn } });
      client.send({ topic: "phoenix", event: "heartbeat", ref: "7" });
      expect((await client.reply("7")).status).toBe("ok");
    });
  }

  for (const vsn of ["3.0.0", "0.9.0", "1.1.0", "2.1.0", "two", "2", ""]) {
    test(`rejects "${vsn}" with 403 and a message`, async () => {
      const refusal = await refused(`/websocket?vsn=${vsn}`);
      expect(refusal.status).toBe(403);
      expectSentence(refusal);
    });
  }

  for (const version of VERSIONS) {
    test(`without vsn a first text frame of ${version} selects the version`, async () => {
      const client = await world.connect({ vsn: null, frameVersion: version });
      const joined = await client.join("quiet", { token: world.token("quiet") });
      expect(joined.status).toBe("ok");
      await world.backend.publish("to:quiet:news", '{"a":1}');
      expect((await client.event("news")).payload).toEqual({ a: 1 });
    });
  }

  for (const version of VERSIONS) {
    for (const vsn of [null, version]) {
      test(`accepts text of ${version} in binary frames, with vsn=${vsn}`, async () => {
        const client = await world.connect({ vsn, frameVersion: version });
        const received = await world.backend.listenToPushes("quiet");
        const send = (message: Message): void => client.sendBinary(Buffer.from(` ${client.encode(message)}`));
        const payload = JSON.stringify({ token: world.token("quiet") });
        send({ joinRef: "1", ref: "1", topic: "quiet", event: "phx_join", payload });
        expect(await client.reply("1")).toMatchObject({ status: "ok", frame: { kind: "text" } });
        send({ joinRef: "1", ref: "2", topic: "quiet", event: "news", payload: '{"ä":1.0}' });
        expect((await client.reply("2")).status).toBe("ok");
        expect((await received.next()).payload.toString()).toBe('{"ä":1.0}');
        await world.backend.publish("to:quiet:reply", "1");
        expect(await client.event("reply")).toMatchObject({ payload: 1, kind: "text" });
        client.send({ ref: "3", topic: "phoenix", event: "heartbeat" });
        expect((await client.reply("3")).status).toBe("ok");
        client.sendBinary(Buffer.from([0x7b, 0xff, 0x7d]));
        expect((await client.event("phx_error")).payload).toEqual({ reason: "malformed frame: not UTF-8" });
      });
    }
  }

  test("without vsn a first binary frame selects V2", async () => {
    const client = await world.connect({ vsn: null });
    client.sendBinary(encodeBinary({ ref: "1", topic: "quiet", event: "news", data: Buffer.from("x") }));
    expect((await client.reply("1")).response).toEqual({ reason: "unmatched topic" });
    expect((await client.join("quiet", { token: world.token("quiet") })).status).toBe("ok");
  });

  for (const version of VERSIONS) {
    test(`a heartbeat is answered in ${version}`, async () => {
      const client = await world.connect({ vsn: version });
      client.sendText(client.encode({ topic: "phoenix", event: "heartbeat", ref: "7" }));
      const frame = await client.frames.next();
      expect(frame).toMatchObject({
        ref: "7",
        topic: "phoenix",
        event: "phx_reply",
        payload: { status: "ok", response: {} },
      });
      if (version === "2.0.0") expect(frame.joinRef).toBeNull();
    });

    test(`a heartbeat with a null ref is answered with a null ref, ${version}`, async () => {
      const client = await world.connect({ vsn: version });
      client.send({ topic: "phoenix", event: "heartbeat", ref: null });
      expect(await client.frames.next()).toMatchObject({ ref: null, topic: "phoenix", event: "phx_reply" });
    });
  }
});

describe("subprotocol", () => {
  const bearer = (token: string): string =>
    `base64url.bearer.phx.${Buffer.from(token).toString("base64").replaceAll("=", "")}`;
  const selected = async (offered: string): Promise<string | undefined> => {
    const answer = await openWebSocket(`${world.channel.url}/websocket?vsn=2.0.0`, {
      "sec-websocket-protocol": offered,
      "x-forwarded-for": "127.0.0.1",
    });
    if (!("messages" in answer)) throw new Error(`refused with ${answer.status}`);
    await answer.close();
    return answer.headers.get("sec-websocket-protocol");
  };

  test("selects phoenix when it is offered", async () => {
    expect(await selected("phoenix")).toBe("phoenix");
    expect(await selected(`phoenix, ${bearer("a")}`)).toBe("phoenix");
    expect(await selected(`${bearer("a")}, phoenix`)).toBe("phoenix");
    expect(await selected("graphql-ws,phoenix")).toBe("phoenix");
  });

  test("selects none when phoenix is not offered, and never a token", async () => {
    expect(await selected(bearer(world.token("quiet")))).toBeUndefined();
    expect(await selected("graphql-ws")).toBeUndefined();
    expect(await selected("phoenixes")).toBeUndefined();
  });

  test("the token in it authorizes a join without a token", async () => {
    const client = await world.connect({ subprotocols: ["phoenix", bearer(world.token("quiet"))] });
    expect((await client.join("quiet")).status).toBe("ok");
    expect((await client.join("another")).response).toMatchObject({ reason: "unauthorized" });
  });
});

describe("token of the socket", () => {
  for (const name of ["userToken", "token"]) {
    test(`?${name}= authorizes a join without a token`, async () => {
      const client = await world.connect({ params: { [name]: world.token("quiet") } });
      expect((await client.join("quiet")).status).toBe("ok");
    });
  }

  test("is not verified before a join needs it", async () => {
    const client = await world.connect({ params: { userToken: "[object Promise]" } });
    expect((await client.join("quiet")).response).toMatchObject({ reason: "unauthorized" });
    expect((await client.join("quiet", { token: world.token("quiet") })).status).toBe("ok");
  });
});

describe("origin and host", () => {
  const status = async (headers: Readonly<Record<string, string>>): Promise<number> => {
    const answer = await openWebSocket(`${world.channel.url}/websocket?vsn=2.0.0`, {
      "x-forwarded-for": "127.0.0.1",
      ...headers,
    });
    if ("messages" in answer) await answer.close();
    return answer.status;
  };

  test("accepts any port of the requested host, and treats all loopback names as one host", async () => {
    expect(await status({ origin: world.channel.url })).toBe(101);
    expect(await status({ origin: "http://127.0.0.1:5173" })).toBe(101);
    expect(await status({ origin: "http://localhost:5173" })).toBe(101);
    expect(await status({ origin: "http://[::1]:5173" })).toBe(101);
  });

  for (const origin of [
    "https://elsewhere.example",
    "null",
    "http://127.0.0.1.elsewhere.example",
    "nonsense",
  ]) {
    test(`rejects the foreign origin ${origin} with 403 and a message`, async () => {
      const refusal = await refused("/websocket?vsn=2.0.0", { origin });
      expect(refusal.status).toBe(403);
      expectSentence(refusal);
    });
  }

  test("rejects a foreign Host with 403 and a message that names allowed_hosts", async () => {
    const refusal = await refused("/websocket?vsn=2.0.0", { host: "rebound.example" });
    expect(refusal.status).toBe(403);
    expect(refusal.body).toContain("allowed_hosts");
  });
});

describe("limits before the upgrade", () => {
  test("rejects an address that connects too fast with 429 and a message", async () => {
    const path = `${world.channel.url}/websocket?vsn=2.0.0`;
    const from = { "x-forwarded-for": "203.0.113.99" };
    let last: Refusal | null = null;
    let accepted = 0;
    const began = performance.now();
    for (let i = 0; i < 500 && last === null; i++) {
      const answer = await openWebSocket(path, from);
      if ("messages" in answer) {
        accepted++;
        await answer.close();
      } else last = answer;
    }
    // One per second, with a burst of ten.
    expect(accepted).toBeWithin(10, 11 + Math.ceil((performance.now() - began) / 1000));
    expect(last?.status).toBe(429);
    if (last !== null) expectSentence(last);
    const other = await openWebSocket(path, { "x-forwarded-for": "203.0.113.98" });
    expect(other.status).toBe(101);
    if ("messages" in other) await other.close();
  });

  test("rejects an address with too many connections with 503, until one closes", async () => {
    const path = "/websocket?vsn=2.0.0";
    const open = await Promise.all([1, 2, 3, 4].map(() => world.connect({ headers: ELSEWHERE })));
    const refusal = await refused(path, ELSEWHERE);
    expect(refusal.status).toBe(503);
    expectSentence(refusal);
    await open[0]?.socket.close();
    await (await world.connect({ headers: ELSEWHERE })).fence();
  });

  test("limits the total number of connections: 503 and a message, until one closes", async () => {
    const small = await startWorld("embedded", { toml: "[limits]\nmax_connections = 3\n" });
    try {
      const open = await Promise.all([1, 2, 3].map(() => small.connect()));
      const answer = await openWebSocket(`${small.channel.url}/websocket?vsn=2.0.0`);
      if (!("body" in answer)) throw new Error("the fourth connection was accepted");
      expect(answer.status).toBe(503);
      expectSentence(answer);
      open[0]?.socket.cut();
      await open[0]?.socket.closed;
      await open[1]?.fence();
      await (await small.connect()).fence();
    } finally {
      await small.stop();
    }
  });
});

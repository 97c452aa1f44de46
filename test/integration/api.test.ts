import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Answer, type Call, call, signIn } from "./api-client.ts";
import { followMany } from "./followers.ts";
import { eventually } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

const PUBLISHER = "the key of a publishing backend";
const READER = "the key of a reading dashboard";
const TOML = `
[[api_keys]]
key = "${PUBLISHER}"
can = ["publish"]
channels = ["room:*"]
[[api_keys]]
key = "${READER}"
can = ["read"]
channels = ["room:*", "news"]
`;

let world: World;
const ask = (path: string, options?: Call): Promise<Answer> => call(world.channel.url, path, options);

describe.each(BUSES)("publish with the %s bus", (bus) => {
  let here: World;
  beforeAll(async () => {
    here = await startWorld(bus);
  });
  afterAll(() => here.stop());

  test("sends the message to clients and to subscribers on the bus, like a publish of a backend", async () => {
    const received = await here.backend.listen("to:room:*");
    const client = await here.connect();
    await client.join("room:1", { token: here.token("room:1") });
    const sent = await call(here.channel.url, "/api/publish", {
      body: { channel: "room:1", event: "news", payload: { a: [1, "ü"] } },
    });
    expect(sent.body).toEqual({ listeners: 1 });
    expect((await client.event("news")).text).toBe('[null,null,"room:1","news",{"a":[1,"ü"]}]');
    const seen = await received.until((each) => each.name === "to:room:1:news");
    expect(seen.payload.toString()).toBe('{"a":[1,"ü"]}');
    await call(here.channel.url, "/api/publish", {
      body: { channel: "room:1", event: "raw", base64: "/wAB" },
    });
    expect((await client.event("raw")).payload).toEqual(new Uint8Array([255, 0, 1]));
  });
});

test("a publish without a bus connection returns 503 and reaches no client", async () => {
  const here = await startWorld("redis");
  const client = await here.connect();
  await client.join("room:1", { token: here.token("room:1") });
  here.redis?.kill("SIGKILL");
  await eventually(async () => (await fetch(`${here.channel.url}/ready`)).status === 503, "the bus away");
  const sent = await call(here.channel.url, "/api/publish", {
    body: { channel: "room:1", event: "news", payload: 1 },
  });
  expect(sent.status).toBe(503);
  expect(sent.body.error).toContain("was not published");
  expect((await client.fence()).some(({ event }) => event === "news")).toBe(false);
  expect((await call(here.channel.url, "/api/stats")).body.bus).toMatchObject({ live: false, kind: "redis" });
  await here.stop();
});

describe("the API", () => {
  beforeAll(async () => {
    world = await startWorld("embedded", { toml: TOML });
  });
  afterAll(() => world.stop());

  test("lists the members of a channel, with agent ids split at the first and the last colon", async () => {
    const client = await world.connect();
    const { response } = await client.join("weather:wind:now", { token: world.token("weather:wind:now") });
    const { body } = await ask("/api/channels/weather%3Awind%3Anow");
    expect(body).toMatchObject({ name: "weather:wind:now", members: 1, users: 1, listeners: { phoenix: 1 } });
    const [member] = body.listed;
    expect(response).toEqual({ id: member.agent });
    expect(member).toMatchObject({ user: "alice", join_ref: "1", address: "127.0.0.1" });
    expect(member.agent).toBe(`${member.connection}:weather:wind:now:1`);
    const { body: all } = await ask(`/api/connections?search=${member.connection}`);
    expect(all.connections).toMatchObject([
      {
        id: member.connection,
        protocol: "phoenix",
        users: ["alice"],
        channels: ["weather:wind:now"],
        buffered: 0,
      },
    ]);
    client.socket.cut();
  });

  test("searches, sorts and pages 10,000 channels", async () => {
    const client = await world.connect();
    const groups = await followMany(world, "row-", 10_000);
    const { body } = await ask("/api/channels?search=ROW-&limit=3");
    expect(body.matching).toBe(10_000);
    expect(body.total).toBeGreaterThanOrEqual(10_003);
    expect(body.channels.map((row: { name: string }) => row.name)).toEqual([
      "row-00000",
      "row-00001",
      "row-00002",
    ]);
    const last = await ask("/api/channels?search=row-&offset=9998&limit=1000");
    expect(last.body.channels.map((row: { name: string }) => row.name)).toEqual(["row-09998", "row-09999"]);
    const published = Date.now();
    for (let i = 0; i < 5; i++) await world.backend.publish("to:row-04711:tick", "1");
    await world.backend.publish("to:row-00042:tick", "1");
    await eventually(
      async () => (await ask("/api/channels/row-00042")).body.sent === 1,
      "the message to be counted",
    );
    const { body: top } = await ask("/api/channels?search=row-&sort=messages&limit=2");
    expect(top.channels.map((row: { name: string }) => row.name)).toEqual(["row-04711", "row-00042"]);
    // The rate is that since the request before, over one second at least.
    await eventually(async () => {
      await world.backend.publish("to:row-04711:tick", "1");
      const { body: busiest } = await ask("/api/channels?search=row-&sort=rate&limit=1");
      return busiest.channels[0].name === "row-04711" && busiest.channels[0].rate > 0;
    }, "the busiest channel first");
    const { body: latest } = await ask("/api/channels?search=row-&sort=last_active&limit=1");
    // last_active is the server's cached clock, which is updated a few times a second.
    expect(latest.channels[0].last_active).toBeGreaterThan(published - 60_000);
    for (const each of groups) each.close();
    client.socket.cut();
  }, 30_000);

  test("disconnects one connection with close code 1001", async () => {
    const client = await world.connect();
    await client.join("room:1", { token: world.token("room:1", { id: "carol" }) });
    const { body } = await ask("/api/connections?search=carol");
    const { id } = body.connections[0];
    expect((await ask(`/api/connections/${id}`, { method: "DELETE" })).body).toEqual({
      disconnected: 1,
      servers: [{ name: expect.any(String), ok: true, disconnected: 1 }],
    });
    expect(await client.socket.closed).toMatchObject({ code: 1001 });
    expect((await ask(`/api/connections/${id}`, { method: "DELETE" })).status).toBe(404);
  }, 15_000);

  test("disconnects every connection of a user; a ban rejects its tokens until the ban is removed", async () => {
    const join = async (user: string) => {
      const client = await world.connect();
      return { client, joined: await client.join("room:1", { token: world.token("room:1", { id: user }) }) };
    };
    const [first, second, other] = [await join("dave"), await join("dave"), await join("erin")];
    const { body } = await ask("/api/disconnect", { body: { id: "dave", ban: "10m" } });
    expect(body.disconnected).toBe(2);
    expect(body.banned_until - Date.now()).toBeGreaterThan(590_000);
    for (const { client } of [first, second])
      expect(await client.socket.closed).toMatchObject({ code: 1001 });
    expect((await join("dave")).joined).toMatchObject({
      status: "error",
      response: { reason: "unauthorized" },
    });
    expect(other.client.socket.isClosed).toBe(false);
    expect((await ask("/api/bans")).body.bans).toEqual([{ id: "dave", until: body.banned_until }]);
    expect((await ask("/api/bans/dave", { method: "DELETE" })).body).toEqual({
      lifted: true,
      servers: [{ name: expect.any(String), ok: true }],
    });
    expect((await ask("/api/bans/dave", { method: "DELETE" })).status).toBe(404);
    expect((await join("dave")).joined.status).toBe("ok");
    world.cutClients();
  }, 15_000);

  test("kicks a user out of a channel with phx_close and keeps the connection and its other channels", async () => {
    const client = await world.connect();
    const token = world.token("room:*", { id: "frank" });
    await client.join("room:1", { token });
    await client.join("room:2", { token });
    expect((await ask("/api/kick", { body: { channel: "room:1", id: "frank" } })).body).toEqual({
      kicked: 1,
      servers: [{ name: expect.any(String), ok: true, kicked: 1 }],
    });
    expect(await client.event("phx_close")).toMatchObject({ topic: "room:1", joinRef: "1", ref: "1" });
    expect((await ask("/api/kick", { body: { channel: "room:1", id: "frank" } })).status).toBe(404);
    const pushed = await client.ask({ topic: "room:2", joinRef: "2", event: "hello" });
    expect(pushed.status).toBe("ok");
    const { body } = await ask("/api/channels/room%3A2");
    const [{ agent }] = body.listed;
    expect((await ask("/api/kick", { body: { channel: "room:2", agent } })).body.kicked).toBe(1);
    world.cutClients();
  });

  test("mints a token that is accepted for its channels", async () => {
    const { body } = await ask("/api/tokens", {
      body: { channels: ["room:9"], id: "grace", expires_in: "1h", can: ["join"] },
    });
    expect(body).toMatchObject({ id: "grace", channels: ["room:9"] });
    expect(body.expires_at - Date.now()).toBeGreaterThan(3_590_000);
    const client = await world.connect();
    expect((await client.join("room:9", { token: body.token })).status).toBe("ok");
    const pushed = await client.ask({ topic: "room:9", joinRef: "1", event: "hello" });
    expect(pushed.response).toEqual({ reason: "forbidden" });
    const { body: admin } = await ask("/api/tokens", { body: { channels: ["admin"] } });
    expect((await client.join("admin", { token: admin.token })).status).toBe("ok");
    world.cutClients();
  });

  test("an API key is limited to its permissions and its channels", async () => {
    const publish = (secret: string, channel: string) =>
      ask("/api/publish", { secret, body: { channel, event: "x", payload: 1 } });
    expect((await publish(PUBLISHER, "room:1")).status).toBe(200);
    expect((await publish(PUBLISHER, "news")).status).toBe(403);
    expect((await publish(READER, "room:1")).status).toBe(403);
    const client = await world.connect();
    await client.join("room:1", { token: world.token("room:1") });
    await client.join("secret", { token: world.token("secret") });
    const { body } = await ask("/api/channels", { secret: READER });
    expect(body).toMatchObject({ total: 1, matching: 1, channels: [{ name: "room:1" }] });
    expect((await ask("/api/channels/secret", { secret: READER })).status).toBe(403);
    expect((await ask("/api/channels/secret/messages", { secret: READER })).status).toBe(403);
    expect((await ask("/api/connections", { secret: READER })).status).toBe(403);
    expect((await ask("/api/stats", { secret: READER })).status).toBe(403);
    expect((await ask("/api/stats", { secret: PUBLISHER })).status).toBe(403);
    for (const path of ["/api/kick", "/api/disconnect", "/api/tokens"]) {
      const { status } = await ask(path, { secret: READER, body: { channel: "room:1", id: "alice" } });
      expect(status).toBe(403);
    }
    world.cutClients();
  });

  test("rejects every request without a secret or a cookie", async () => {
    for (const path of ["/api/stats", "/api/channels", "/api/connections", "/api/bans"]) {
      const { status, body } = await ask(path, { secret: null });
      expect(status).toBe(401);
      expect(body).toEqual({ error: expect.any(String), code: "not_signed_in" });
    }
  });

  test("accepts a write with a cookie from the same origin only, and sends no CORS headers", async () => {
    const cookie = await signIn(world.channel.url);
    const body = { channel: "room:1", event: "x", payload: 1 };
    const own = { cookie, origin: world.channel.url };
    expect((await ask("/api/publish", { secret: null, body, headers: own })).status).toBe(200);
    for (const headers of [
      { cookie },
      { cookie, origin: "null" },
      { cookie, origin: "http://127.0.0.1:1" },
      { cookie, origin: "http://evil.example" },
    ]) {
      expect((await ask("/api/publish", { secret: null, body, headers })).status).toBe(403);
    }
    for (const [method, path] of [
      ["GET", "/api/stats"],
      ["OPTIONS", "/api/publish"],
      ["POST", "/api/publish"],
    ] as const) {
      const { headers } = await ask(path, { method, headers: { origin: "http://localhost:3000" } });
      expect([...headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  test("rejects an invalid field with its path, an unknown path with 404 and a wrong method with 405", async () => {
    for (const [body, start] of [
      [{ event: "x", payload: 1 }, "channel: "],
      [{ channel: "", event: "x", payload: 1 }, "channel: must be a channel name"],
      [{ channel: "a", event: "a:b", payload: 1 }, "event: must be an event name"],
      [{ channel: "a", event: "phx_join", payload: 1 }, "event: this name is reserved"],
      [{ channel: "admin", event: "channel.add", payload: 1 }, "event: this name"],
      [{ channel: "a", event: "b", base64: "!" }, "base64: "],
      [{ channel: "a", event: "b", base64: "" }, "base64: "],
      [[], "the body: "],
      ["null", "the body: "],
    ] as const) {
      const { status, body: answer } = await ask("/api/publish", { body });
      expect(status).toBe(422);
      expect(answer.error).toStartWith(start);
    }
    expect((await ask("/api/publish", { body: "{" })).status).toBe(400);
    expect((await ask("/api/publish", { body: `"${"x".repeat(6 << 20)}"` })).status).toBe(413);
    expect((await ask("/api/disconnect", { body: `"${"x".repeat(1 << 20)}"` })).status).toBe(413);
    expect((await ask("/api/channels?limit=0")).status).toBe(422);
    expect((await ask("/api/channels?sort=size")).status).toBe(422);
    expect((await ask("/api/disconnect", { body: { id: "a", ban: "long" } })).body.error).toStartWith(
      "ban: ",
    );
    expect((await ask("/api/nothing")).status).toBe(404);
    expect((await ask("/api/")).status).toBe(404);
    expect((await ask("/api/channels/%ff")).status).toBe(404);
    const wrong = await ask("/api/publish", { method: "PUT" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await ask("/api/channels/__proto__")).status).toBe(404);
  });

  test("the OpenAPI document names every operation and has no $ref", async () => {
    const { body } = await ask("/openapi.json", { secret: null });
    expect(body.openapi).toBe("3.1.0");
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining([
        "/api/stats",
        "/api/channels",
        "/api/channels/{name}",
        "/api/channels/{name}/messages",
        "/api/connections",
        "/api/connections/{id}",
        "/api/publish",
        "/api/disconnect",
        "/api/kick",
        "/api/tokens",
        "/token",
        "/metrics",
      ]),
    );
    expect(JSON.stringify(body)).not.toContain("$ref");
    const { schema } = body.paths["/api/publish"].post.requestBody.content["application/json"];
    expect(schema).toMatchObject({ type: "object", required: ["event"] });
  });
});

test("ten wrong secrets lock out the address from the API, even with the right secret", async () => {
  const here = await startWorld("embedded");
  for (let i = 0; i < 10; i++) {
    const wrong = await call(here.channel.url, "/api/stats", { secret: "a wrong one" });
    expect(wrong.status).toBe(401);
    expect(JSON.stringify(wrong.body)).not.toContain("a wrong one");
  }
  const { status, headers } = await call(here.channel.url, "/api/stats");
  expect(status).toBe(429);
  expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
  await here.stop();
});

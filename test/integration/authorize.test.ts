import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { call } from "./api-client.ts";
import { type Application, allow, deny, HOOK_SECRET, startApplication } from "./application.ts";
import { type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { freePort } from "./redis-process.ts";
import { startWorld, type World } from "./world.ts";

/*
 * Joins without a token on which the application decides, by the cookies of the client.
 */

const COOKIE = "session=the-session-of-alice";
const UNAVAILABLE = { status: "error", response: { reason: "authorization unavailable" } };

let application: Application;
let world: World;
/** Ends each connection after a part of an answer. */
let broken: Server;
let partOfAnswer = "";

/** The settings of a channel pattern that asks the application. */
const asking = (pattern: string, url = application.url): string =>
  `[channels."${pattern}"]\nauthorize = "${url}"\nauthorize_timeout = "4s"\n`;

beforeAll(async () => {
  application = startApplication();
  broken = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(partOfAnswer));
  });
  await new Promise<void>((done) => broken.listen(0, "127.0.0.1", done));
  world = await startWorld("redis", {
    toml: `hook_secret = "${HOOK_SECRET}"
token_endpoint = "off"
${["room:*", "user:*", "system", "admin"].map((pattern) => asking(pattern)).join("")}
presence_meta = true
${asking("room:off:*", "off")}
${asking("dead:*", `http://127.0.0.1:${freePort()}/`)}
${asking("broken:*", `http://127.0.0.1:${Object(broken.address()).port}/`)}
${asking("header:*")}
authorize_headers = ["x-session"]
`,
    args: ["--log-level", "debug"],
  });
});
afterEach(() => {
  application.answer = () => allow();
  application.asked.take();
  world.cutClients();
});
afterAll(async () => {
  await world?.stop();
  await application?.stop();
  broken?.close();
});

/** Status and response of a join. */
async function join(client: PhoenixClient, topic: string, payload: Record<string, unknown> = {}) {
  const { status, response } = await client.join(topic, payload);
  return { status, response };
}

const withCookie = (options: object = {}): Promise<PhoenixClient> =>
  world.connect({ headers: { cookie: COOKIE }, ...options });

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${world.channel.url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

const result = (name: string): Promise<number> => metric(`channel_authorizations_total{result="${name}"}`);

/** Calls the API as the administrator. */
const api = (path: string, body: object) => call(world.channel.url, path, { body });

describe("the application decides on a join without a token", () => {
  for (const { vsn, transport, way } of WAYS) {
    test(`${way}: it gets the channel, the params without a token, the address and the cookies, signed`, async () => {
      const topic = `room:${way}`;
      application.answer = ({ headers }) =>
        headers.get("cookie") === COOKIE ? allow({ id: "alice" }) : deny({ reason: "sign in first" });
      const client = await withCookie({
        vsn,
        transport,
        headers: { cookie: `channel_session=the-administrator; ${COOKIE}`, authorization: "Basic YTpi" },
      });
      const { status } = await client.join(topic, { token: "", seat: 7, ä: null });
      expect(status).toBe("ok");
      const asked = await application.asked.next();
      expect(JSON.parse(asked.text)).toEqual({
        channel: topic,
        params: { seat: 7, ä: null },
        address: "127.0.0.1",
      });
      expect(asked.headers.get("cookie")).toBe(COOKIE);
      expect(asked.headers.get("authorization")).toBe("Basic YTpi");

      expect(await client.event("presence_state")).toMatchObject({ payload: { alice: {} } });
      await world.backend.publish(`to:${topic}:news`, "1");
      expect((await client.event("news")).payload).toBe(1);
      const pushes = await world.backend.listenToPushes(topic);
      expect((await client.ask({ topic, event: "say" })).status).toBe("ok");
      expect((await pushes.next()).name).toBe(`from:${topic}:say`);

      const stranger = await world.connect({ vsn, transport });
      expect(await join(stranger, topic)).toEqual({
        status: "error",
        response: { reason: "sign in first" },
      });
      expect((await application.asked.next()).headers.has("cookie")).toBe(false);
    });
  }

  test("it is not asked about a token that covers the channel, and learns the user of one that does not", async () => {
    const client = await world.connect({ params: { token: world.token("elsewhere", { id: "bob" }) } });
    expect((await client.join("room:1", { token: world.token("room:1", { id: "carol" }) })).status).toBe(
      "ok",
    );
    expect((await client.join("room:2")).status).toBe("ok");
    const asked = await application.asked.next();
    expect(asked).toMatchObject({ channel: "room:2", user: "bob" });
    // Without an id in the answer the member is the user of the token.
    expect(await client.event("presence_state", "room:2")).toMatchObject({ payload: { bob: {} } });
    expect(application.asked.take()).toEqual([]);
  });

  test("a token that is no good is no token; one of a banned user is refused", async () => {
    const client = await world.connect();
    expect((await client.join("room:1", { token: "nonsense" })).status).toBe("ok");
    expect(await application.asked.next()).not.toHaveProperty("user");
    application.answer = () => deny();
    const expired = world.token("room:2", { exp: 1 });
    expect((await join(client, "room:2", { token: expired })).response).toEqual({ reason: "token expired" });
    expect((await join(client, "room:2")).response).toEqual({
      reason: "unauthorized",
      code: "authorization_denied",
    });
    application.asked.take();
    application.answer = () => allow({ id: "somebody" });
    await api("/api/disconnect", { id: "mallory", ban: "1h" });
    const banned = world.token("elsewhere", { id: "mallory" });
    expect((await join(client, "room:2", { token: banned })).response).toEqual({ reason: "unauthorized" });
    expect(application.asked.take()).toEqual([]);
    // Nor does the application let a banned user in.
    application.answer = () => allow({ id: "mallory" });
    expect((await join(client, "room:3")).response).toEqual({ reason: "unauthorized" });
  });

  test("a user whom nobody names gets an id of the connection's own", async () => {
    const client = await world.connect();
    await client.join("room:1");
    const first = Object.keys(Object((await client.event("presence_state", "room:1")).payload));
    await client.join("room:2");
    const second = Object.keys(Object((await client.event("presence_state", "room:2")).payload));
    expect(first).toEqual(second);
    expect(first[0]).toMatch(/^\w{8,}$/);
  });

  test("presence and abilities are those of the answer, and can be updated as after a join with a token", async () => {
    application.answer = () => allow({ id: "alice", presence: { name: "Alice", n: 1 } });
    const client = await world.connect();
    await client.join("room:meta", { presence: { name: "Mallory" } });
    const state = JSON.stringify((await client.event("presence_state")).payload);
    expect(state).toContain('"name":"Alice","n":1');
    expect(state).not.toContain("Mallory");
    const update = await client.ask({ topic: "room:meta", event: "presence", payload: '{"name":"A."}' });
    expect(update.status).toBe("ok");

    application.answer = () => allow({ id: "alice", can: ["join"] });
    const reader = await world.connect();
    await reader.join("room:meta");
    expect((await reader.ask({ topic: "room:meta", event: "say" })).response).toEqual({
      reason: "forbidden",
    });
    expect((await reader.fence()).filter(({ event }) => event === "presence_state")).toEqual([]);
    application.answer = () => allow({ can: ["push"] });
    const outsider = await world.connect();
    expect((await join(outsider, "room:meta")).response).toEqual({ reason: "forbidden" });
  });

  test("it opens neither admin nor system, and the channel of a user only for that user", async () => {
    application.answer = () => allow({ id: "alice" });
    const client = await world.connect();
    for (const topic of ["admin", "system"]) {
      expect((await join(client, topic)).response).toMatchObject({ reason: "unauthorized" });
    }
    expect(application.asked.take()).toEqual([]);
    expect((await client.join("user:alice")).status).toBe("ok");
    await world.backend.publish("to:user:alice:note", "1");
    expect((await client.event("note")).payload).toBe(1);
    for (const topic of ["user:bob", "user:", "user:*", "user:alice2", "user:alic"]) {
      expect((await join(client, topic)).response).toEqual({
        reason: "unauthorized",
        code: "channel_not_covered",
      });
    }
    // An answer that names nobody is not enough, not even with a token.
    application.answer = () => allow();
    const other = await world.connect({ params: { token: world.token("elsewhere", { id: "*" }) } });
    expect((await join(other, "user:carol")).status).toBe("error");
    application.answer = () => allow({ id: "" });
    expect((await join(other, "user:")).status).toBe("error");
  });

  test("a narrower pattern can turn it off, and choose the headers", async () => {
    const client = await withCookie({ headers: { cookie: COOKIE, "x-session": "7" } });
    expect((await join(client, "room:off:1")).response).toMatchObject({ code: "token_missing" });
    expect(application.asked.take()).toEqual([]);
    await client.join("header:1");
    const { headers } = await application.asked.next();
    expect([headers.get("x-session"), headers.get("cookie")]).toEqual(["7", null]);
  });

  test("large params are refused", async () => {
    const client = await world.connect();
    const response = (await join(client, "room:1", { text: "x".repeat(64 * 1024) })).response;
    expect(response).toEqual({ reason: "payload too large" });
    expect(application.asked.take()).toEqual([]);
    const text = "ä".repeat(31 * 1024);
    expect((await client.join("room:1", { text })).status).toBe("ok");
    expect((await application.asked.next()).params).toEqual({ text });
  });
});

describe("an answer", () => {
  test("is good for its connection and channel, until the client is kicked", async () => {
    application.answer = () => allow({ id: "alice" });
    const client = await withCookie();
    for (let i = 0; i < 3; i++) {
      expect((await client.join("room:kept")).status).toBe("ok");
      await client.ask({ topic: "room:kept", event: "phx_leave" });
    }
    expect(application.asked.take().length).toBe(1);
    await client.join("room:other");
    const other = await withCookie();
    await other.join("room:kept");
    expect(application.asked.take().length).toBe(2);
    await client.join("room:kept");
    expect(application.asked.take().length).toBe(0);
    await api("/api/kick", { channel: "room:kept", id: "alice" });
    await client.event("phx_close", "room:kept");
    await client.join("room:kept");
    expect(application.asked.take().length).toBe(1);
  });

  test("that refuses is asked for again", async () => {
    const client = await withCookie();
    application.answer = () => deny();
    for (let i = 0; i < 2; i++) expect((await client.join("room:1")).status).toBe("error");
    application.answer = () => ({ allow: "yes" });
    expect(await join(client, "room:1")).toEqual(UNAVAILABLE);
    application.answer = () => allow();
    expect((await client.join("room:1")).status).toBe("ok");
    expect(application.asked.take().length).toBe(4);
  });

  test("ends after expires_in, as a token does", async () => {
    application.answer = () => allow({ id: "alice", expires_in: 0.5 });
    const client = await withCookie();
    await client.join("phoenix");
    const { joinRef } = await client.join("room:short");
    const ended = await client.event("phx_error", "room:short");
    expect(ended).toMatchObject({ joinRef, payload: { reason: "token expired" } });
    expect((await client.join("room:short")).status).toBe("ok");
    expect(application.asked.take().length).toBe(2);
    expect(client.socket.isClosed).toBe(false);
  });

  test("ends with the token that names its user", async () => {
    const token = world.token("elsewhere", { id: "bob", jti: "the-id-of-bobs-token" });
    const client = await world.connect({ params: { token } });
    await client.join("room:1");
    await api("/api/revocations", { jti: "the-id-of-bobs-token", expires_in: "1h" });
    expect((await client.socket.closed).reason).toBe("token revoked");
  });
});

describe("an answer that is not as it must be refuses", () => {
  const lies: readonly [string, () => unknown][] = [
    ["HTML", () => new Response("<h1>Sign in</h1>", { headers: { "content-type": "text/html" } })],
    ["an empty body", () => new Response("")],
    ["a redirect", () => Response.redirect(application.url, 302)],
    ["an allowing 201", () => Response.json({ allow: true }, { status: 201 })],
    ["an allowing 403", () => Response.json({ allow: true }, { status: 403 })],
    ["an error of the application", () => new Response("no", { status: 500 })],
    ["a text for a boolean", () => ({ allow: "true" })],
    ["a number for an id", () => allow({ id: 7 })],
    ["a text in place of a list", () => allow({ can: "join" })],
    ["a list in place of metadata", () => allow({ presence: [1] })],
    ["a text for a time", () => allow({ expires_in: "60" })],
    ["64 KiB and more", () => allow({ more: "x".repeat(64 * 1024) })],
    ["a bomb", () => new Response(Bun.gzipSync(`{"allow":true${" ".repeat(1 << 22)}}`), GZIP)],
    ["100 MiB", () => new Response(new Uint8Array(100 << 20).fill(32))],
    ["a body without end", () => new Response(endless())],
  ];
  const GZIP = { headers: { "content-encoding": "gzip" } };

  /** Spaces, as long as they are read. */
  function endless(): ReadableStream<Uint8Array> {
    const piece = new Uint8Array(1024).fill(32);
    return new ReadableStream({
      pull: async (to) => {
        to.enqueue(piece);
        await Bun.sleep(1);
      },
    });
  }

  test.each(lies)("%s", async (_, lie) => {
    const refused = await result("unavailable");
    const client = await withCookie();
    application.answer = lie;
    expect(await join(client, "room:1")).toEqual(UNAVAILABLE);
    expect(application.asked.take().length).toBe(1);
    expect(await result("unavailable")).toBe(refused + 1);
    application.answer = () => allow();
    expect((await client.join("room:1")).status).toBe("ok");
  });

  test("as does none: a closed port, a connection that is cut, an answer that stops half-way", async () => {
    const client = await withCookie();
    expect(await join(client, "dead:1")).toEqual(UNAVAILABLE);
    const line = await world.channel.log.until(({ code }) => code === "authorization_unavailable");
    expect(line.cause).toBeString();
    for (const part of ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "nonsense"]) {
      partOfAnswer = part;
      expect(await join(client, "broken:1")).toEqual(UNAVAILABLE);
    }
  });

  test("the reason of the application is text, whatever it contains", async () => {
    const client = await withCookie();
    const reason = 'no "seat"\n\u0000 </script> ä';
    application.answer = () => deny({ reason });
    expect((await join(client, "room:1")).response).toEqual({ reason });
  });
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, type PhoenixClient, VERSIONS } from "./phoenix-client.ts";
import { ADMIN_SECRET, startWorld, type World } from "./world.ts";

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

/** Leeway of `exp`, in seconds: a token that expired less than this ago is valid. */
const LEEWAY = 5;
/** A token that is valid for six to seven more seconds: a busy machine has handled what comes before its end by then. */
const nearlyOver = (): number => inSeconds(7 - LEEWAY);
/** Time in ms until every such token has expired and its end was handled, spread included. */
const OVER_MS = 16_000;

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

async function ask(
  world: World,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const answer = await fetch(`${world.channel.url}/token`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const value: unknown = await answer.json();
  return { status: answer.status, body: Object(value) };
}

async function tokenFor(
  world: World,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const answer = await ask(world, body, headers);
  if (answer.status !== 200 || typeof answer.body.token !== "string") {
    throw new Error(`no token: ${JSON.stringify(answer)}`);
  }
  return answer.body.token;
}

const AS_ADMIN = { authorization: `Bearer ${ADMIN_SECRET}` };

describe("POST /token", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld("embedded", { toml: "id_length = 11\n" });
  });
  afterAll(() => world.stop());

  for (const vsn of VERSIONS) {
    test(`returns a token that a join accepts, ${vsn}`, async () => {
      const { status, body } = await ask(world, { channel: "system", id: "client1" });
      expect(status).toBe(200);
      expect(body).toEqual({ id: "client1", channel: "system", token: expect.any(String) });
      const client = await world.connect({ vsn });
      expect((await client.join("system", { token: body.token })).status).toBe("ok");
      expect(Object.keys(Object((await client.event("presence_state")).payload))).toContain("client1");
      expect((await client.join("other", { token: body.token })).response).toEqual({
        reason: "unauthorized",
        code: "channel_not_covered",
      });
    });
  }

  test("without an id or with a blank one generates one of id_length characters", async () => {
    for (const body of [
      { channel: "system" },
      { channel: "system", id: "" },
      { channel: "system", id: "  " },
    ]) {
      const { id } = (await ask(world, body)).body;
      expect(id).toMatch(/^\S{11}$/);
    }
  });

  test("for several channels is valid for each of them and no other", async () => {
    const { status, body } = await ask(world, { channels: ["a", "b:c"], id: "bob" });
    expect(status).toBe(200);
    expect(body).toEqual({ id: "bob", channels: ["a", "b:c"], token: expect.any(String) });
    const client = await world.connect({ params: { userToken: String(body.token) } });
    const tries: unknown[] = [];
    for (const topic of ["a", "b:c", "b", "c", "a:b"]) tries.push((await client.join(topic)).status);
    expect(tries).toEqual(["ok", "ok", "error", "error", "error"]);
  });

  test("for a pattern requires the administrator's secret, and never grants admin", async () => {
    for (const channel of ["room:*", "*", "adm*"]) {
      const { status, body } = await ask(world, { channel });
      expect(status).toBeWithin(401, 404);
      expect(body).toEqual({ error: expect.any(String), code: "not_signed_in" });
    }
    const room = await tokenFor(world, { channel: "room:*" }, AS_ADMIN);
    const all = await tokenFor(world, { channel: "*" }, AS_ADMIN);
    const client = await world.connect();
    const tries: [string, string, string][] = [
      [room, "room:1", "ok"],
      [room, "room:", "ok"],
      [room, "room", "error"],
      [room, "rooms:1", "error"],
      [all, "anything", "ok"],
      [all, "admin", "error"],
    ];
    for (const [token, topic, status] of tries) {
      expect([topic, (await client.join(topic, { token })).status]).toEqual([topic, status]);
    }
  });

  test("for admin requires the administrator's secret; a token of jwt_secret is not enough", async () => {
    expect((await ask(world, { channel: "admin" })).status).toBeWithin(401, 404);
    expect((await ask(world, { channels: ["system", "admin"] })).status).toBeWithin(401, 404);
    const client = await world.connect();
    for (const claims of [{ channel: "admin" }, { channels: ["admin", "*"] }]) {
      const token = world.token("admin", claims);
      expect((await client.join("admin", { token })).response).toMatchObject({ reason: "unauthorized" });
    }
    expect((await client.join("admin", { token: await world.adminToken("root") })).status).toBe("ok");
  });

  test("for phoenix is always rejected", async () => {
    expect((await ask(world, { channel: "phoenix" })).status).toBeWithin(400, 404);
    expect((await ask(world, { channel: "phoenix" }, AS_ADMIN)).status).toBeWithin(400, 404);
  });

  test("rejects an invalid request with a message", async () => {
    for (const body of [
      {},
      { channel: 7 },
      { channel: "a", channels: ["a"] },
      { channels: [] },
      { channel: "" },
      [],
      null,
    ]) {
      const { status, body: said } = await ask(world, body);
      expect([body, status]).toEqual([body, status === 400 ? 400 : 422]);
      expect(said).toEqual({ error: expect.stringMatching(/\w+ \w+/), code: expect.any(String) });
    }
  });
});

describe("token_channels", () => {
  test("with {id} grants each user only the channel of its id", async () => {
    const world = await startWorld("embedded", { toml: `token_channels = ["system", "streaming-{id}"]\n` });
    try {
      const token = await tokenFor(world, { channel: "streaming-bob", id: "bob" });
      const client = await world.connect();
      expect((await client.join("streaming-bob", { token })).status).toBe("ok");
      await tokenFor(world, { channel: "system", id: "bob" });
      for (const body of [
        { channel: "streaming-alice", id: "bob" },
        { channel: "streaming-bob" },
        { channel: "other", id: "bob" },
        { channels: ["system", "streaming-alice"], id: "bob" },
        { channel: "streaming-{id}", id: "bob" },
      ]) {
        const answer = await ask(world, body);
        expect([body, answer.status]).toEqual([body, 403]);
      }
      // An id cannot make the name a pattern.
      const { status } = await ask(world, { channel: "streaming-*", id: "*" });
      expect(status).toBeOneOf([401, 403]);
    } finally {
      await world.stop();
    }
  });
});

describe("expiry = close", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld("embedded", { toml: `presence_window = "10ms"\n` });
  });
  afterAll(() => world.stop());

  describe.concurrent("a token that expires", () => {
    for (const vsn of VERSIONS) {
      test(`ends only its memberships, with phx_error, ${vsn}`, async () => {
        const watcher = await world.connect();
        await watcher.join(`short ${vsn}`, { token: world.token(`short ${vsn}`, { id: "watcher" }) });
        const client = await world.connect({ vsn });
        const token = world.token(`short ${vsn}`, { id: "leaver", exp: nearlyOver() });
        const { joinRef, status } = await client.join(`short ${vsn}`, { token });
        expect(status).toBe("ok");
        await client.join("long", { token: world.token("long", { exp: inSeconds(315_360_000) }) });
        const started = performance.now();
        const error = await client.frames.until((each) => each.event === "phx_error", "phx_error", OVER_MS);
        expect(performance.now() - started).toBeGreaterThan(500);
        expect(error).toMatchObject({
          topic: `short ${vsn}`,
          ref: joinRef,
          payload: { reason: "token expired" },
        });
        if (vsn === "2.0.0") expect(error.joinRef).toBe(joinRef);
        await watcher.frames.until((each) => /"leaves":\{"leaver"/.test(each.text), "its leave");
        const { response } = await client.ask({ topic: `short ${vsn}`, event: "news" });
        expect(response).toEqual({ reason: "unmatched topic" });
        expect((await client.ask({ topic: "long", event: "news" })).status).toBe("ok");
        expect(client.frames.all.filter((each) => each.event === "phx_close")).toEqual([]);
      }, 40_000);
    }

    test("closes the socket with 1001 when it is the socket's token; memberships last until then", async () => {
      const watcher = await world.connect();
      await watcher.join("socketed", { token: world.token("socketed", { id: "watcher" }) });
      const token = world.token("socketed", { id: "leaver", exp: nearlyOver() });
      const client = await world.connect({ params: { userToken: token } });
      expect((await client.join("socketed")).status).toBe("ok");
      let sent = 0;
      while (!client.socket.isClosed) {
        await world.backend.publish("to:socketed:n", String(++sent));
        await watcher.frames.until((each) => each.payload === sent, `message ${sent}`);
        await Bun.sleep(5);
      }
      expect(await client.socket.closed).toEqual({ code: 1001, reason: "token expired" });
      // It may have come before the last message.
      const leave = (): boolean => watcher.frames.all.some(({ text }) => /"leaves":\{"leaver"/.test(text));
      await eventually(leave, "its leave");
      const got = client.frames.all.filter(({ event }) => event === "n").map(({ payload }) => payload);
      expect(got).toEqual(Array.from({ length: got.length }, (_, i) => i + 1));
      // Only the messages sent while the close was in transit, not those of seconds.
      expect(sent - got.length).toBeLessThan(100);
    }, 40_000);

    test("ends a long-poll session when it is the session's token, after pending messages were fetched", async () => {
      const topic = "polled";
      const token = world.token(topic, { id: "leaver", exp: nearlyOver() });
      const watcher = await world.connect();
      await watcher.join(topic, { token: world.token(topic, { id: "watcher" }) });
      const client = await world.connect({ transport: "longpoll", params: { userToken: token } });
      expect((await client.join(topic)).status).toBe("ok");
      let sent = 0;
      while (!client.socket.isClosed) {
        await world.backend.publish(`to:${topic}:n`, String(++sent));
        await watcher.frames.until((each) => each.payload === sent, `message ${sent}`);
        await Bun.sleep(5);
      }
      const got = client.frames.all.filter(({ event }) => event === "n").map(({ payload }) => payload);
      expect(got).toEqual(Array.from({ length: got.length }, (_, i) => i + 1));
      // Only the messages sent while the end was in transit: one in 5 ms.
      expect(sent - got.length).toBeLessThan(200);
    }, 40_000);

    test("is renewed by access_token before it expires", async () => {
      const client = await world.connect();
      await client.join("renewed", { token: world.token("renewed", { exp: nearlyOver() }) });
      const payload = JSON.stringify({ token: world.token("renewed") });
      expect(await client.ask({ topic: "renewed", event: "access_token", payload })).toMatchObject({
        status: "ok",
      });
      await Bun.sleep(OVER_MS);
      expect((await client.ask({ topic: "renewed", event: "news" })).status).toBe("ok");
      expect(client.frames.all.filter((each) => each.event === "phx_error")).toEqual([]);
    }, 40_000);

    test("expires when the renewal was rejected", async () => {
      const client = await world.connect();
      await client.join("refused", { token: world.token("refused", { exp: nearlyOver() }) });
      for (const token of [
        world.token("refused", { id: "mallory" }),
        world.token("elsewhere"),
        `${world.token("refused")}x`,
        "",
      ]) {
        const { status, response } = await client.ask({
          topic: "refused",
          event: "access_token",
          payload: JSON.stringify({ token }),
        });
        expect({ status, response }).toMatchObject({ status: "error", response: { reason: "unauthorized" } });
      }
      const error = await client.frames.until((each) => each.event === "phx_error", "phx_error", OVER_MS);
      expect(error.payload).toEqual({ reason: "token expired" });
    }, 40_000);

    test("shortens a membership when the renewed token expires earlier", async () => {
      const client = await world.connect();
      await client.join("shortened", { token: world.token("shortened") });
      const payload = JSON.stringify({ token: world.token("shortened", { exp: nearlyOver() }) });
      expect((await client.ask({ topic: "shortened", event: "access_token", payload })).status).toBe("ok");
      await client.frames.until((each) => each.event === "phx_error", "phx_error", OVER_MS);
    }, 40_000);

    test("is checked only at join when expiry = join", async () => {
      const lenient = await startWorld("embedded", { toml: `expiry = "join"\n` });
      try {
        const token = lenient.token("room", { exp: nearlyOver() });
        const client = await lenient.connect({ params: { userToken: token } });
        expect((await client.join("room")).status).toBe("ok");
        await Bun.sleep(11_000);
        expect((await client.ask({ topic: "room", event: "news" })).status).toBe("ok");
        expect(client.socket.isClosed).toBe(false);
        expect(client.frames.all.filter((each) => each.event === "phx_error")).toEqual([]);
        expect((await client.join("room")).response).toEqual({ reason: "token expired" });
      } finally {
        await lenient.stop();
      }
    }, 40_000);

    test("does not affect a channel that was left, or rejoined with a later expiry", async () => {
      const client = await world.connect();
      await client.join("left", { token: world.token("left", { exp: nearlyOver() }) });
      await client.ask({ topic: "left", event: "phx_leave" });
      await client.join("again", { token: world.token("again", { exp: nearlyOver() }) });
      await client.join("again", { token: world.token("again") });
      await Bun.sleep(OVER_MS);
      expect((await client.ask({ topic: "again", event: "news" })).status).toBe("ok");
      expect(client.frames.all.filter((each) => each.event === "phx_error")).toEqual([]);
    }, 40_000);
  });

  // On its own: joins of the tests above would wait for all of these, beyond the end of their tokens.
  test("tokens of many members that expire at the same time: the ends are spread over several seconds", async () => {
    const SOCKETS = 16;
    const EACH = 100;
    const clients = await Promise.all(Array.from({ length: SOCKETS }, () => world.connect()));
    const token = world.token("many *", { exp: nearlyOver() });
    const payload = JSON.stringify({ token });
    const topics = Array.from({ length: EACH }, (_, i) => `many ${i}`);
    for (const client of clients) {
      client.sendTogether(
        topics.map((topic) => ({ joinRef: topic, ref: topic, topic, event: "phx_join", payload })),
      );
    }
    for (const client of clients)
      for (const topic of topics) expect((await client.reply(topic)).status).toBe("ok");
    const times = await Promise.all(
      clients.map(async (client) => {
        const own: number[] = [];
        while (own.length < EACH) {
          await client.frames.until((each) => each.event === "phx_error", "phx_error", 2 * OVER_MS);
          own.push(performance.now());
        }
        return own;
      }),
    );
    expect(Math.max(...times.flat()) - Math.min(...times.flat())).toBeWithin(1000, OVER_MS);
  }, 60_000);

  test("exp has 5 s of leeway, and so has nbf", async () => {
    const client: PhoenixClient = await world.connect();
    const outcome = async (claims: object): Promise<unknown> => {
      const { status, response } = await client.join("leeway", {
        token: world.token("leeway", { ...claims }),
      });
      return status === "ok" ? "ok" : response;
    };
    expect(await outcome({ exp: inSeconds(-1) })).toBe("ok");
    expect(await outcome({ exp: inSeconds(-8) })).toEqual({ reason: "token expired" });
    expect(await outcome({ nbf: inSeconds(3) })).toBe("ok");
    expect(await outcome({ nbf: inSeconds(30) })).toMatchObject({ reason: "unauthorized" });
  });
});

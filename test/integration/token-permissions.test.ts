import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mint } from "./phoenix-client.ts";
import { ADMIN_SECRET, SECRET, startWorld, type World } from "./world.ts";

const AS_ADMIN = { authorization: `Bearer ${ADMIN_SECRET}` };

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

async function post(
  world: World,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const answer = await fetch(`${world.channel.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const value: unknown = await answer.json();
  return { status: answer.status, body: Object(value) };
}

/** The claims of a token; its signature is not verified. */
function claimsOf(token: unknown): Readonly<Record<string, unknown>> {
  const payload = String(token).split(".")[1] ?? "";
  return JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
}

function bearer(claims: object): Readonly<Record<string, string>> {
  return { authorization: `Bearer ${mint({ exp: inSeconds(3600), ...claims }, SECRET)}` };
}

describe("permissions per channel in a token", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld("embedded", { toml: `presence_window = "10ms"\n` });
  });
  afterAll(() => world.stop());

  test("apply to that channel; the exact name decides, else the longest pattern", async () => {
    const token = mint(
      {
        id: "alice",
        exp: inSeconds(3600),
        channels: {
          "room:*": ["join", "push"],
          "room:quiet:*": ["join"],
          "room:quiet:desk": ["join", "push", "presence"],
          "room:closed": [],
          news: ["join"],
        },
      },
      SECRET,
    );
    const client = await world.connect({ params: { userToken: token } });
    const tries: unknown[] = [];
    for (const topic of ["room:1", "room:quiet:1", "room:quiet:desk", "news", "room:closed", "other"]) {
      const join = await client.join(topic);
      const push = join.status === "ok" ? await client.ask({ topic, event: "say" }) : null;
      tries.push([topic, join.status === "ok" ? "ok" : join.response, push?.status ?? null]);
    }
    expect(tries).toEqual([
      ["room:1", "ok", "ok"],
      ["room:quiet:1", "ok", "error"],
      ["room:quiet:desk", "ok", "ok"],
      ["news", "ok", "error"],
      ["room:closed", expect.objectContaining({ reason: "forbidden" }), null],
      ["other", expect.objectContaining({ reason: "unauthorized" }), null],
    ]);
    const seen = client.frames.all
      .filter((each) => each.event === "presence_state")
      .map((each) => each.topic);
    expect(seen).toEqual(["room:quiet:desk"]);
  });

  test("that are invalid invalidate the token; a pattern never grants admin", async () => {
    const client = await world.connect();
    for (const channels of [{ news: "join" }, { news: null }, { news: { join: true } }]) {
      const token = mint({ id: "a", exp: inSeconds(60), channels: channels as never }, SECRET);
      expect((await client.join("news", { token })).status).toBe("error");
    }
    const token = mint({ id: "a", exp: inSeconds(60), channels: { "*": ["join"], admin: ["join"] } }, SECRET);
    expect((await client.join("admin", { token })).status).toBe("error");
    expect((await client.join("news", { token })).status).toBe("ok");
  });

  test("apply to event groups", async () => {
    const token = mint(
      { id: "a", exp: inSeconds(60), channels: { jobs: ["join"], control: ["push"] } },
      SECRET,
    );
    const socket = new WebSocket(`${world.channel.url.replace("http", "ws")}/groups?token=${token}`);
    const said: string[] = [];
    const done = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => {
      said.push(String(data));
      if (said.length === 1) socket.send('{"groups":{"jobs":["a"],"control":["b"]}}');
      if (String(data).includes("groups_current")) done.resolve();
    };
    await done.promise;
    socket.close();
    expect(said[1]).toBe('{"error":"access denied to channel control for resource id b"}');
    expect(JSON.parse(said[2] ?? "")).toMatchObject({ groups_current: ["jobs-a"] });
  });

  test("are issued by /token for the names it grants, and for patterns only to the administrator", async () => {
    const channels = { news: ["join"], room: ["join", "push"] };
    const open = await post(world, "/token", { channels, id: "bob" });
    expect(open).toMatchObject({ status: 200, body: { id: "bob", channels } });
    expect(claimsOf(open.body.token)).toMatchObject({ id: "bob", channels });
    const list = await post(world, "/token", { channel: "news", can: ["join"], id: "bob" });
    expect(claimsOf(list.body.token)).toMatchObject({ channel: "news", can: ["join"] });
    const pattern = { channels: { "room:*": ["join"] } };
    expect((await post(world, "/token", pattern)).status).toBe(401);
    expect((await post(world, "/token", { channels: { admin: ["join"] } })).status).toBe(401);
    expect((await post(world, "/token", { channels: { phoenix: ["join"] } })).status).toBe(403);
    expect((await post(world, "/token", pattern, AS_ADMIN)).status).toBe(200);
    expect((await post(world, "/api/tokens", pattern, AS_ADMIN)).body).toMatchObject(pattern);
    for (const bad of [{ news: ["jion"] }, { news: "join" }, { "": ["join"] }, {}]) {
      expect((await post(world, "/token", { channels: bad })).status).toBe(422);
    }
    expect((await post(world, "/token", { channel: "news", can: "join" })).status).toBe(422);
  });
});

describe("a renewal", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld("embedded", { toml: `presence_window = "10ms"\n` });
  });
  afterAll(() => world.stop());

  const renew = (topic: string, can: readonly string[]) => ({
    topic,
    event: "access_token",
    payload: JSON.stringify({ token: world.token(topic, { can }) }),
  });

  test("that no longer allows join ends the membership", async () => {
    const client = await world.connect();
    await client.join("room", { token: world.token("room") });
    const { status, response } = await client.ask(renew("room", []));
    expect({ status, response }).toMatchObject({ status: "error", response: { reason: "forbidden" } });
    await client.event("phx_close");
    await world.backend.publish("to:room:news", '"for members"');
    await client.join("other", { token: world.token("other") });
    await world.backend.publish("to:other:news", '"the last"');
    await client.frames.until((each) => each.text.includes("the last"), "the last");
    expect(client.frames.all.filter((each) => each.text.includes("for members"))).toEqual([]);
  });

  test("removes and grants access to presence", async () => {
    const client = await world.connect();
    const presence = () => client.frames.all.filter((each) => each.event.startsWith("presence_")).length;
    await client.join("sight", { token: world.token("sight", { can: ["join", "push"] }) });
    expect((await client.ask(renew("sight", ["join", "presence"]))).status).toBe("ok");
    await client.frames.until((each) => each.event === "presence_state", "the state");
    expect((await client.ask({ topic: "sight", event: "say" })).response).toMatchObject({
      reason: "forbidden",
    });
    const other = await world.connect();
    await other.join("sight", { token: world.token("sight", { id: "bob" }) });
    await client.frames.until((each) => /"joins":.*"bob"/.test(each.text), "the join of another");
    expect((await client.ask(renew("sight", ["join"]))).status).toBe("ok");
    const before = presence();
    const third = await world.connect();
    await third.join("sight", { token: world.token("sight", { id: "carol" }) });
    await other.frames.until((each) => /"joins":.*"carol"/.test(each.text), "the join of a third");
    await world.backend.publish("to:sight:news", '"the last"');
    await client.frames.until((each) => each.text.includes("the last"), "the last");
    expect(presence()).toBe(before);
  });
});

describe("a bearer token for POST /token", () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld("embedded", {
      toml: `token_ids = "own"\ntoken_channels = ["room:b", "room:c"]\n`,
    });
  });
  afterAll(() => world.stop());

  test("is exchanged for no wider permissions and no later expiry", async () => {
    const exp = inSeconds(60);
    const short = bearer({ id: "alice", channel: "room:a", can: ["join"], exp });
    for (const channel of ["room:a", "room:b"]) {
      const { status, body } = await post(world, "/token", { channel, id: "alice" }, short);
      expect([channel, status]).toEqual([channel, 200]);
      const claims = claimsOf(body.token);
      expect(claims).toMatchObject({ id: "alice", channel, can: ["join"] });
      expect(Number(claims.exp)).toBeWithin(exp - 5, exp + 1);
      const client = await world.connect();
      expect((await client.join(channel, { token: body.token })).status).toBe("ok");
      expect((await client.ask({ topic: channel, event: "say" })).response).toMatchObject({
        reason: "forbidden",
      });
    }
  });

  test("is exchanged only for channels that it or token_channels covers", async () => {
    const own = bearer({ id: "alice", channels: { "room:*": ["join", "push"], "x:*": ["join"] } });
    const ask = (channels: unknown) => post(world, "/token", { channels, id: "alice" }, own);
    expect((await ask(["room:z"])).body).toMatchObject({ channels: ["room:z"], can: ["join", "push"] });
    expect((await ask(["room:z", "x:1"])).body).toMatchObject({
      channels: { "room:z": ["join", "push"], "x:1": ["join"] },
    });
    expect((await ask({ "room:z": ["push", "presence"] })).body).toMatchObject({
      channels: { "room:z": ["push"] },
    });
    expect((await ask(["elsewhere"])).status).toBe(403);
    expect((await ask(["room:z", "elsewhere"])).status).toBe(403);
    expect((await ask(["room:*"])).status).toBe(401);
    const narrow = bearer({ id: "alice", channels: { "x:1": ["join"], "x:2": ["join", "push"] } });
    // token_channels grants the channels that the token does not cover, with the token's global permissions.
    expect((await post(world, "/token", { channel: "room:b", id: "alice" }, narrow)).body).toMatchObject({
      channel: "room:b",
      can: ["join"],
    });
  });

  test("of another user, expired, or with a bad signature is rejected", async () => {
    for (const headers of [
      bearer({ id: "mallory", channel: "room:b" }),
      bearer({ id: "alice", channel: "room:b", exp: inSeconds(-60) }),
      { authorization: `${bearer({ id: "alice", channel: "room:b" }).authorization}x` },
    ]) {
      expect((await post(world, "/token", { channel: "room:b", id: "alice" }, headers)).status).toBe(403);
    }
    expect((await post(world, "/token", { channel: "room:b", id: "alice" }, AS_ADMIN)).status).toBe(200);
  });
});

describe("a user's own channel", () => {
  let closed: World;
  let open: World;
  beforeAll(async () => {
    const toml = 'token_endpoint = "admin"\n';
    [closed, open] = await Promise.all([startWorld("embedded", { toml }), startWorld("embedded")]);
  });
  afterAll(() => Promise.all([closed?.stop(), open?.stop()]));

  async function joins(world: World, topic: string, claims: object): Promise<string> {
    const client = await world.connect();
    const { status } = await client.join(topic, {
      token: mint({ exp: inSeconds(3600), channels: [], ...claims }, SECRET),
    });
    client.socket.cut();
    return String(status);
  }

  test("is covered by each token of the user, where ids can be trusted", async () => {
    expect(await joins(closed, "user:alice", { id: "alice" })).toBe("ok");
    expect(await joins(closed, "user:alice", { id: "alice", channels: ["room:1"] })).toBe("ok");
    expect(await joins(closed, "user:bob", { id: "alice" })).toBe("error");
    expect(await joins(open, "user:alice", { id: "alice" })).toBe("error");
    expect(await joins(open, "user:alice", { id: "alice", channels: ["user:alice"] })).toBe("ok");
  });

  test("is compared with the id, which is no pattern", async () => {
    expect(await joins(closed, "user:bob", { id: "*" })).toBe("error");
    expect(await joins(closed, "user:*", { id: "*" })).toBe("ok");
    expect(await joins(closed, "user:alice:more", { id: "alice" })).toBe("error");
    expect(await joins(closed, "user:", { id: "" })).toBe("error");
  });

  test("is not given by an open token endpoint, by no name and no pattern", async () => {
    const ask = async (channel: string, headers = {}): Promise<number> =>
      (await post(open, "/token", { channel, id: "alice" }, headers)).status;
    expect(await ask("user:alice")).toBe(403);
    expect(await ask("user:")).toBe(403);
    expect(await ask("user:*")).toBe(401);
    expect(await ask("user:alice", AS_ADMIN)).toBe(200);
    expect(await ask("user:alice", bearer({ id: "alice", channel: "user:alice" }))).toBe(200);
  });

  test("is not given without a token by an open server, whatever its token_channels say", async () => {
    const toml = 'token_channels = ["*", "user:*", "user:{id}", "user:alice"]\n';
    const wide = await startWorld("embedded", { toml });
    try {
      for (const asked of [
        { channel: "user:alice" },
        { channels: ["system", "user:alice"] },
        { channels: { "user:alice": ["join"] } },
      ]) {
        const { status, body } = await post(wide, "/token", { id: "alice", ...asked });
        expect([asked, status, body.code]).toEqual([asked, 403, "token_channel_not_given"]);
      }
      const { body } = await post(wide, "/token", { id: "alice", channel: "system" });
      for (const query of ["", `&token=${body.token}`]) {
        const answer = await fetch(`${wide.channel.url}/sse?channel=user:alice${query}`);
        expect(answer.status).toBe(query === "" ? 401 : 403);
        await answer.body?.cancel();
      }
      const client = await wide.connect();
      expect((await client.join("user:alice", { token: body.token })).status).toBe("error");
      const renewed = await post(
        wide,
        "/token",
        { id: "alice", channel: "user:alice" },
        {
          authorization: `Bearer ${body.token}`,
        },
      );
      expect(renewed.status).toBe(403);
    } finally {
      await wide.stop();
    }
  });

  test("is allowed no more by a token that an earlier one was exchanged for", async () => {
    const own = await startWorld("embedded", { toml: 'token_ids = "own"\ntoken_channels = ["room:*"]\n' });
    try {
      for (const earlier of [
        { channels: ["room:1"], can: ["join"] },
        { channels: { "room:1": ["join", "push"] }, can: ["join"] },
      ]) {
        for (const asked of [
          { channels: { "room:1": ["join"] } },
          { channels: { "room:1": ["join", "push", "presence"] } },
          { channels: ["room:1", "room:2"] },
          { channel: "room:1" },
        ]) {
          const headers = bearer({ id: "alice", ...earlier });
          const { status, body } = await post(own, "/token", { id: "alice", ...asked }, headers);
          const client = await own.connect();
          const joined = await client.join("user:alice", { token: body.token });
          const pushed = await client.ask({
            topic: "user:alice",
            joinRef: joined.joinRef,
            event: "say",
            payload: "1",
          });
          client.socket.cut();
          const seen = [earlier, asked, status, joined.status, pushed.response];
          expect(seen).toEqual([earlier, asked, 200, "ok", { reason: "forbidden" }]);
        }
      }
    } finally {
      await own.stop();
    }
  });

  test("receives what a backend publishes to the user, on each connection", async () => {
    const clients = await Promise.all([closed.connect(), closed.connect()]);
    const token = mint({ exp: inSeconds(3600), channels: [], id: "alice" }, SECRET);
    for (const client of clients) await client.join("user:alice", { token });
    await closed.backend.publish("to:user:alice:note", '{"n":12345678901234567890}');
    for (const client of clients) {
      expect((await client.event("note", "user:alice")).text).toContain('{"n":12345678901234567890}');
    }
  });
});

import { describe, expect, test } from "bun:test";
import { covers } from "../../../src/auth/verifier.ts";
import type { Config } from "../../../src/config/config.ts";
import { BEARER, testHttp } from "./http.ts";

async function claimsOf(http: ReturnType<typeof testHttp>, answer: unknown) {
  const token = (answer as { token: string }).token;
  const verdict = await http.verify(token, { address: "192.0.2.1" });
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.claims;
}

async function status(
  changes: Partial<Config>,
  value: unknown,
  headers: Record<string, string> = {},
): Promise<number> {
  const { token } = testHttp(changes);
  const { status, answer } = await token(value, headers);
  if (status === 200) expect(answer).toHaveProperty("token");
  else expect(answer).toEqual({ error: expect.stringMatching(/^\S.*\.$/), code: expect.any(String) });
  return status;
}

describe("what a token is asked for", () => {
  test("one channel, as documented", async () => {
    const http = testHttp();
    const { status, answer, response } = await http.token({ channel: "system", id: "client1" });
    expect(status).toBe(200);
    expect(Object.keys(answer as object)).toEqual(["id", "channel", "token"]);
    expect(answer).toMatchObject({ id: "client1", channel: "system" });
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await claimsOf(http, answer)).toMatchObject({
      user: "client1",
      channels: ["system"],
      admin: false,
    });
  });

  test("several channels", async () => {
    const http = testHttp();
    const { answer } = await http.token({ channels: ["a", "b"] });
    expect(Object.keys(answer as object)).toEqual(["id", "channels", "token"]);
    expect((await claimsOf(http, answer)).channels).toEqual(["a", "b"]);
    const single = await http.token({ channels: ["a"], channel: null });
    expect(single.answer).toMatchObject({ channels: ["a"] });
  });

  test("no id or a blank one is a random one of id_length letters and digits", async () => {
    const { token } = testHttp({ idLength: 12 });
    const ids = new Set<string>();
    for (const id of [undefined, null, "", "  ", "\n"]) {
      const { answer } = await token({ channel: "system", id });
      const given = (answer as { id: string }).id;
      expect(given).toMatch(/^[0-9A-Za-z]{12}$/);
      ids.add(given);
    }
    expect(ids.size).toBe(5);
  });

  test("an id stays as it was sent", async () => {
    const { token } = testHttp();
    for (const id of [" a ", "__proto__", "<b>", "é".repeat(128)]) {
      expect((await token({ channel: "system", id })).answer).toMatchObject({ id });
    }
  });

  test("what is not JSON is a bad request", async () => {
    for (const body of ["", "{", "channel=system", "{'channel':'system'}", "\ufffe", '{"channel":"a"} x']) {
      expect(await status({}, body)).toBe(400);
    }
  });

  test("JSON that names no channel, or too much, can't be used", async () => {
    const bad: unknown[] = [
      "[]",
      "null",
      '"system"',
      "7",
      {},
      { id: "a" },
      { channel: null },
      { channel: "a", channels: ["b"] },
      { channels: [] },
      { channels: "a" },
      { channels: ["a", 7] },
      { channels: [["a"]] },
      { channel: 7 },
      { channel: ["a"] },
      { channel: "" },
      { channel: "a\u0000" },
      { channel: "\ud800" },
      { channel: "a".repeat(256) },
      '{"__proto__":{"channel":"system"}}',
      { channel: "a", id: 7 },
      { channel: "a", id: {} },
      { channel: "a", id: "\ud800" },
      { channel: "a", id: "a".repeat(257) },
      { channels: Array.from({ length: 200 }, (_, at) => `${at}-${"x".repeat(60)}`) },
    ];
    for (const value of bad) expect(await status({}, value)).toBe(422);
  });

  test("a body over the limit is refused, announced or not", async () => {
    const limits = { ...testHttp().config.limits, maxBody: 1000 };
    expect(await status({ limits }, { channel: "a", pad: "x".repeat(900) })).toBe(200);
    expect(await status({ limits }, { channel: "a", pad: "x".repeat(1000) })).toBe(413);
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 100;
        controller.enqueue(new Uint8Array(100).fill(32));
      },
    });
    const response = await testHttp({ limits }).ask("/token", { method: "POST", body: endless });
    expect(response.status).toBe(413);
    expect(sent).toBeLessThan(100_000);
  });

  test("a body that breaks off is a bad request", async () => {
    const broken = new ReadableStream({
      pull(controller) {
        controller.error(new Error("gone"));
      },
    });
    const http = testHttp();
    expect((await http.ask("/token", { method: "POST", body: broken })).status).toBe(400);
    expect(http.logged).toEqual([]);
  });
});

describe("who may have one", () => {
  test("open: anyone, for an ordinary channel", async () => {
    expect(await status({}, { channel: "system" })).toBe(200);
    expect(await status({}, { channels: ["a", "b"] })).toBe(200);
    expect(await status({}, { channel: "system" }, { authorization: "Bearer whatever" })).toBe(200);
  });

  test("admin: the administrator only", async () => {
    const tokenEndpoint = "admin";
    expect(await status({ tokenEndpoint }, { channel: "system" })).toBe(401);
    expect(await status({ tokenEndpoint }, { channel: "system" }, { authorization: "Bearer wrong" })).toBe(
      401,
    );
    expect(await status({ tokenEndpoint }, { channel: "system" }, BEARER)).toBe(200);
    expect(await status({ tokenEndpoint, tokenChannels: ["x"] }, { channel: "system" }, BEARER)).toBe(200);
  });

  test("off: no tokens for channels; the administrator gets them for admin and patterns", async () => {
    const tokenEndpoint = "off";
    expect(await status({ tokenEndpoint }, { channel: "system" })).toBe(403);
    expect(await status({ tokenEndpoint }, { channel: "system" }, BEARER)).toBe(403);
    expect(await status({ tokenEndpoint }, { channels: ["room:*", "system"] }, BEARER)).toBe(403);
    expect(await status({ tokenEndpoint }, { channel: "admin" }, BEARER)).toBe(200);
    expect(await status({ tokenEndpoint }, { channel: "room:*" }, BEARER)).toBe(200);
    expect(await status({ tokenEndpoint }, { channel: "room:*" })).toBe(401);
  });

  test("a pattern or admin, alone or among others, needs the administrator", async () => {
    for (const value of [
      { channel: "*" },
      { channel: "room:*" },
      { channel: "admin" },
      { channels: ["a", "room:*"] },
      { channels: ["a", "admin"] },
    ]) {
      expect(await status({}, value)).toBe(401);
      expect(await status({}, value, { authorization: "Bearer wrong" })).toBe(401);
      expect(await status({}, value, BEARER)).toBe(200);
    }
    expect(await status({}, { channel: "room:*:x" })).toBe(200);
  });

  test("what the administrator gets for admin opens admin, what jwt_secret signs never does", async () => {
    const http = testHttp();
    const claims = await claimsOf(http, (await http.token({ channel: "admin", id: "root" }, BEARER)).answer);
    expect(covers(claims, "admin")).toBe(true);
    const pattern = await claimsOf(http, (await http.token({ channel: "*" }, BEARER)).answer);
    expect(pattern.admin).toBe(false);
    expect(covers(pattern, "admin")).toBe(false);
    expect(covers(pattern, "system")).toBe(true);
  });

  test("phoenix: no tokens", async () => {
    expect(await status({}, { channel: "phoenix" })).toBe(403);
    expect(await status({}, { channel: "phoenix" }, BEARER)).toBe(403);
    expect(await status({}, { channels: ["a", "phoenix"] }, BEARER)).toBe(403);
  });

  test("a session's cookie does what the secret does, from our own page only", async () => {
    const http = testHttp();
    const answer = http.admin.signIn(
      http.config.adminSecret,
      new Request("http://127.0.0.1:2025/admin/sign_in", { method: "POST" }),
      { address: "127.0.0.1", https: false, loopback: false },
    );
    const cookie = answer.ok ? (answer.cookie.split(";")[0] ?? "") : "";
    const origin = "http://127.0.0.1:2025";
    expect((await http.token({ channel: "admin" }, { cookie, origin })).status).toBe(200);
    expect((await http.token({ channel: "admin" }, { cookie })).status).toBe(403);
    expect((await http.token({ channel: "admin" }, { cookie, origin: "http://localhost:3000" })).status).toBe(
      403,
    );
    expect((await http.token({ channel: "admin" }, { cookie: "channel_session=x", origin })).status).toBe(
      401,
    );
  });

  test("ten wrong secrets block this endpoint too", async () => {
    const { token } = testHttp();
    for (let round = 0; round < 10; round++) {
      expect((await token({ channel: "admin" }, { authorization: "Bearer wrong" })).status).toBe(401);
    }
    const { status, response } = await token({ channel: "admin" }, BEARER);
    expect(status).toBe(429);
    expect(Number(response.headers.get("retry-after"))).toBe(2);
    expect((await token({ channel: "system" })).status).toBe(200);
  });
});

describe("token_channels", () => {
  const tokenChannels = ["system", "streaming-{id}", "room:*", "{id}/*"];
  const ask = (value: unknown, headers = {}) => status({ tokenChannels }, value, headers);

  test("gives everyone what it lists, and the stream of one's own id", async () => {
    expect(await ask({ channel: "system" })).toBe(200);
    expect(await ask({ channel: "room:7" })).toBe(200);
    expect(await ask({ channel: "streaming-abc", id: "abc" })).toBe(200);
    expect(await ask({ channel: "abc/x", id: "abc" })).toBe(200);
    expect(await ask({ channels: ["system", "streaming-abc"], id: "abc" })).toBe(200);
  });

  test("grants nothing else", async () => {
    expect(await ask({ channel: "other" })).toBe(403);
    expect(await ask({ channel: "streaming-abc", id: "abd" })).toBe(403);
    expect(await ask({ channel: "streaming-abc" })).toBe(403);
    expect(await ask({ channel: "streaming-{id}" })).toBe(403);
    expect(await ask({ channels: ["system", "other"] })).toBe(403);
    expect(await status({ tokenChannels: [] }, { channel: "system" })).toBe(403);
  });

  test("a star or a replacement pattern in an id is a plain character", async () => {
    expect(await ask({ channel: "streaming-abc", id: "*" })).toBe(403);
    expect(await ask({ channel: "streaming-abc", id: "ab*" })).toBe(403);
    expect(await ask({ channel: "abc/x", id: "*" })).toBe(403);
    expect(await ask({ channel: "streaming-{id}", id: "$&" })).toBe(403);
    expect(await ask({ channel: "streaming-$&", id: "$&" })).toBe(200);
  });

  test("does not hold for the administrator, and a wrong secret counts", async () => {
    expect(await ask({ channel: "other" }, BEARER)).toBe(200);
    expect(await ask({ channel: "other" }, { authorization: "Bearer wrong" })).toBe(401);
  });
});

describe('token_ids = "own"', () => {
  test("an id of one's choice needs an earlier token of that id", async () => {
    const http = testHttp({ tokenIds: "own" });
    const first = (await http.token({ channel: "system" })).answer as { id: string; token: string };
    const bearer = { authorization: `Bearer ${first.token}` };
    expect((await http.token({ channel: "room", id: first.id }, bearer)).status).toBe(200);
    expect((await http.token({ channel: "room", id: first.id })).status).toBe(403);
    expect((await http.token({ channel: "room", id: "another" }, bearer)).status).toBe(403);
    expect((await http.token({ channel: "room", id: first.id }, { authorization: "Bearer x" })).status).toBe(
      401,
    );
    expect((await http.token({ channel: "room", id: "any" }, BEARER)).status).toBe(200);
    expect((await http.token({ channel: "room" })).status).toBe(200);
  });

  test("an earlier token that ran out, or of another secret, is none, and is no guess at the admin secret", async () => {
    const http = testHttp({ tokenIds: "own" });
    const other = testHttp({ jwtSecret: "another secret, which is long enough" });
    const foreign = (await other.token({ channel: "system", id: "a" })).answer as { token: string };
    for (let round = 0; round < 12; round++) {
      const bearer = { authorization: `Bearer ${foreign.token}` };
      expect((await http.token({ channel: "room", id: "a" }, bearer)).status).toBe(403);
    }
    expect((await http.token({ channel: "admin" }, BEARER)).status).toBe(200);
  });
});

describe("pages of other places", () => {
  test("of the same host may call it and read responses and errors", async () => {
    const { token } = testHttp();
    for (const [value, code] of [
      [{ channel: "system" }, 200],
      [{}, 422],
    ] as const) {
      const { status, response } = await token(value, { origin: "http://localhost:5173" });
      expect(status).toBe(code);
      expect(response.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
      expect(response.headers.get("vary")).toBe("Origin");
      expect(response.headers.get("access-control-allow-credentials")).toBeNull();
    }
  });

  test("of foreign ones get nothing, and nothing is done for them", async () => {
    const { token, ask } = testHttp();
    for (const origin of ["http://evil.example", "null"]) {
      for (let round = 0; round < 11; round++) {
        const { status, response } = await token(
          { channel: "admin" },
          { origin, authorization: "Bearer wrong" },
        );
        expect(status).toBe(403);
        expect(response.headers.get("access-control-allow-origin")).toBeNull();
      }
      expect((await ask("/token", { method: "OPTIONS", headers: { origin } })).status).toBe(403);
    }
    expect((await token({ channel: "admin" }, BEARER)).status).toBe(200);
  });

  test("get the allowed headers and methods in a preflight", async () => {
    const { ask } = testHttp();
    const headers = { origin: "http://localhost:5173", "access-control-request-headers": "content-type" };
    const response = await ask("/token", { method: "OPTIONS", headers });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-headers")).toBe("content-type");
    expect(response.headers.get("access-control-allow-methods")).toContain("POST");
  });
});

test("answers and logs hold no secret and no token but the one asked for", async () => {
  const http = testHttp({ tokenEndpoint: "admin" });
  const texts: string[] = [];
  for (const secret of ["guess-one", http.config.adminSecret, http.config.jwtSecret]) {
    for (const value of [
      { channel: "admin" },
      { channel: "phoenix" },
      "{",
      { channel: secret, channels: [] },
    ]) {
      const { answer } = await http.token(value, { authorization: `Bearer ${secret}` });
      texts.push(JSON.stringify(answer));
    }
  }
  for (const secret of ["guess-one", http.config.adminSecret, http.config.jwtSecret]) {
    expect([...texts, ...http.logged].filter((text) => text.includes(secret))).toEqual([]);
  }
});

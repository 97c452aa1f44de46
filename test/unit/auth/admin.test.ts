import { describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { createAdmin } from "../../../src/auth/admin.ts";
import { AdminSessions, SESSION_MS } from "../../../src/auth/admin-session.ts";
import { FailedAttempts } from "../../../src/auth/failed-attempts.ts";
import { deriveKey } from "../../../src/auth/keys.ts";
import { NO_STORE, Revocations } from "../../../src/auth/revocations.ts";
import { isForeign, isSameOrigin } from "../../../src/auth/same-origin.ts";
import { covers, createVerifier } from "../../../src/auth/verifier.ts";
import type { Config } from "../../../src/config/config.ts";
import { testConfig } from "./config.ts";

const SECRET = testConfig().adminSecret;
const here = { address: "192.0.2.1", https: false, loopback: false };
const OWN = { host: "127.0.0.1:2025", origin: "http://127.0.0.1:2025" };

function clocked(changes: Partial<Config> = {}) {
  let time = 1_800_000_000_000;
  const now = () => time;
  const config = testConfig(changes);
  const wait = (ms: number) => {
    time += ms;
  };
  const revocations = new Revocations(undefined, now);
  const again = (known = revocations) =>
    createAdmin(config, { now, wrong: new FailedAttempts(now), revocations: known });
  return { admin: again(), again, wait, now };
}

function request(headers: Record<string, string>, method = "GET"): Request {
  return new Request("http://127.0.0.1:2025/x", { method, headers });
}

function cookieOf(answer: ReturnType<ReturnType<typeof createAdmin>["signIn"]>): string {
  if (!answer.ok) throw new Error(answer.reason);
  return answer.cookie.split(";")[0] ?? "";
}

describe("the admin secret", () => {
  test("opens as Bearer, also for what changes something and without an origin", () => {
    const { admin } = clocked();
    for (const method of ["GET", "POST", "DELETE"]) {
      expect(admin.requireAdmin(request({ authorization: `Bearer ${SECRET}` }, method), here)).toMatchObject({
        ok: true,
      });
      expect(admin.requireAdmin(request({ authorization: `bearer ${SECRET} ` }, method), here)).toMatchObject(
        {
          ok: true,
        },
      );
    }
  });

  test("a wrong one, part of it, or none does not", () => {
    const { admin } = clocked();
    for (const wrong of [SECRET.slice(1), `${SECRET}x`, SECRET.toUpperCase(), "x", "\u00e9"]) {
      expect(admin.requireAdmin(request({ authorization: `Bearer ${wrong}` }), here)).toMatchObject({
        ok: false,
        status: 401,
      });
    }
    for (const header of ["", "Bearer", "Bearer ", `Basic ${btoa(`admin:${SECRET}`)}`, SECRET]) {
      expect(admin.requireAdmin(request({ authorization: header }), here)).toMatchObject({
        ok: false,
        status: 401,
      });
    }
    expect(admin.requireAdmin(request({}), here)).toMatchObject({ ok: false, status: 401 });
  });

  test("refusals never hold the secret, the right or the wrong one", () => {
    const { admin } = clocked();
    const refusal = admin.requireAdmin(request({ authorization: "Bearer guessed-it" }), here);
    expect(JSON.stringify(refusal)).not.toContain("guessed-it");
    expect(JSON.stringify(refusal)).not.toContain(SECRET);
  });
});

/** An administration, and a verifier that counts with it. */
function counted() {
  let time = 1_800_000_000_000;
  let failed = 0;
  const now = () => time;
  const wrong = new FailedAttempts(now, () => void failed++);
  const config = testConfig();
  return {
    admin: createAdmin(config, { now, wrong }),
    verify: createVerifier(config, now, wrong),
    wait(ms: number) {
      time += ms;
    },
    get failed() {
      return failed;
    },
  };
}

function forgedToken(n: number, channel = "admin"): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256" })}.${part({ id: "mallory", channel, exp: 2_000_000_000 })}`;
  return `${signed}.${createHmac("sha256", deriveKey(`guess ${n & 1}`, "token"))
    .update(signed)
    .digest("base64url")}`;
}

describe("wrong secrets", () => {
  test("after ten failures in a minute one attempt every 2 s is checked for the rest of the minute", () => {
    const { admin, wait } = clocked({ adminSecretGenerated: true });
    const bearer = (secret: string) =>
      admin.requireAdmin(request({ authorization: `Bearer ${secret}` }), here);
    for (let round = 0; round < 4; round++) expect(bearer("wrong")).toMatchObject({ status: 401 });
    for (let round = 0; round < 3; round++)
      expect(admin.signIn("wrong", request({}, "POST"), here)).toMatchObject({ status: 401 });
    for (let round = 0; round < 3; round++)
      expect(admin.signInByCode("wrong", request(OWN, "POST"), here)).toMatchObject({ status: 401 });
    expect(bearer(SECRET)).toMatchObject({ ok: false, status: 429, retryAfterSecs: 2 });
    expect(admin.signIn(SECRET, request({}, "POST"), here)).toMatchObject({ ok: false, status: 429 });
    expect(admin.signInByCode(admin.signInCode ?? "", request(OWN, "POST"), here)).toMatchObject({
      ok: false,
      status: 429,
    });
    wait(1_999);
    expect(bearer(SECRET)).toMatchObject({ status: 429, retryAfterSecs: 1 });
    wait(1);
    expect(bearer(SECRET)).toMatchObject({ ok: true });
    expect(bearer(SECRET)).toMatchObject({ status: 429 });
    wait(2_000);
    expect(bearer("wrong")).toMatchObject({ status: 401 });
    wait(1_000);
    expect(bearer(SECRET)).toMatchObject({ status: 429 });
    wait(60_000);
    expect(bearer(SECRET)).toMatchObject({ ok: true });
    expect(bearer(SECRET)).toMatchObject({ ok: true });
  });

  test("forged cookies and forged tokens for admin count as such", () => {
    const forgers: readonly ((n: number, parts: ReturnType<typeof counted>) => void)[] = [
      (n, { admin }) => {
        const cookie = `channel_session=${"a".repeat(20)}${10 + n}.zzzzzzzz.${"b".repeat(43)}`;
        admin.requireAdmin(request({ cookie }), here);
      },
      (n, { verify }) => void verify(forgedToken(n), here),
    ];
    for (const forge of forgers) {
      const parts = counted();
      for (let n = 0; n < 9; n++) forge(n, parts);
      expect(parts.admin.signIn(SECRET, request({}, "POST"), here).ok).toBe(true);
      forge(9, parts);
      expect(parts.admin.signIn(SECRET, request({}, "POST"), here)).toMatchObject({ status: 429 });
      expect(parts.failed).toBe(10);
    }
  });

  test("a cookie that is sent again and again is one guess; one that has run out is none", () => {
    const parts = counted();
    const cookie = `channel_session=${"a".repeat(22)}.zzzzzzzz.${"b".repeat(43)}`;
    for (let n = 0; n < 50; n++) parts.admin.requireAdmin(request({ cookie }), here);
    expect(parts.failed).toBe(1);
    const good = cookieOf(parts.admin.signIn(SECRET, request({}, "POST"), here));
    parts.wait(SESSION_MS);
    for (let n = 0; n < 50; n++)
      expect(parts.admin.requireAdmin(request({ cookie: good }), here).ok).toBe(false);
    expect(parts.failed).toBe(1);
  });

  test("ordinary tokens that are bad are no guess, and good ones no proof of anything", () => {
    const parts = counted();
    for (let n = 0; n < 50; n++) parts.verify(forgedToken(n, "room"), here);
    expect(parts.failed).toBe(0);
  });

  test("those that a page of another site may have sent are counted apart", () => {
    const { admin } = clocked();
    const foreign = [
      { authorization: "Bearer wrong", origin: "http://evil.example" },
      { authorization: "Bearer wrong", "sec-fetch-site": "cross-site" },
      {
        cookie: `channel_session=${"a".repeat(22)}.zzzzzzzz.${"b".repeat(43)}`,
        "sec-fetch-site": "same-site",
      },
    ];
    for (let round = 0; round < 20; round++)
      for (const headers of foreign) expect(admin.requireAdmin(request(headers), here).ok).toBe(false);
    expect(admin.signIn(SECRET, request(OWN, "POST"), here).ok).toBe(true);
    expect(admin.requireAdmin(request({ authorization: `Bearer ${SECRET}` }), here).ok).toBe(true);
    // And they are limited all the same.
    const [first = {}] = foreign;
    expect(admin.requireAdmin(request({ ...first, authorization: `Bearer ${SECRET}` }), here)).toMatchObject({
      status: 429,
    });
  });

  test("a hundred over all limit each address from its first one on, and none that has none", () => {
    const { admin } = clocked();
    const from = (n: number) => ({ address: `192.0.2.${n}`, https: false, loopback: false });
    for (let n = 1; n <= 100; n++) admin.signIn("wrong", request({}, "POST"), from(n));
    expect(admin.signIn(SECRET, request({}, "POST"), from(200)).ok).toBe(true);
    expect(admin.signIn(SECRET, request({}, "POST"), from(200)).ok).toBe(true);
    admin.signIn("wrong", request({}, "POST"), from(201));
    expect(admin.signIn(SECRET, request({}, "POST"), from(201))).toMatchObject({ status: 429 });
  });

  test("nine do not, and another address is not held to account", () => {
    const { admin } = clocked();
    for (let round = 0; round < 9; round++) admin.signIn("wrong", request({}, "POST"), here);
    expect(admin.signIn(SECRET, request({}, "POST"), here).ok).toBe(true);
    admin.signIn("wrong", request({}, "POST"), here);
    expect(admin.signIn(SECRET, request({}, "POST"), here)).toMatchObject({ status: 429 });
    expect(
      admin.signIn(SECRET, request({}, "POST"), { address: "192.0.2.2", https: false, loopback: false }).ok,
    ).toBe(true);
  });

  test("a session goes on while its address is shut out", () => {
    const { admin } = clocked();
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    for (let round = 0; round < 20; round++) admin.signIn("wrong", request({}, "POST"), here);
    expect(admin.requireAdmin(request({ cookie }), here)).toMatchObject({ ok: true });
  });

  test("are counted in bounded memory", () => {
    let time = 0;
    const wrong = new FailedAttempts(() => time);
    for (let count = 0; count < 30_000; count++)
      wrong.count({ address: `10.${count >> 16}.${(count >> 8) & 255}.${count & 255}` }, "secret");
    expect(wrong.size).toBe(10_000);
    time = 60_000;
    wrong.count({ address: "192.0.2.1" }, "secret");
    expect(wrong.size).toBe(1);
  });
});

describe("a session", () => {
  test("comes as a cookie that scripts and other sites do not have", () => {
    const cookie = (changes: Partial<Config>, https: boolean) => {
      const answer = clocked(changes).admin.signIn(SECRET, request({}, "POST"), {
        address: "192.0.2.1",
        https,
        loopback: false,
      });
      return answer.ok ? answer.cookie : "";
    };
    expect(cookie({}, false)).toMatch(
      /^channel_session=[\w.-]+; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
    );
    expect(cookie({}, true)).toEndWith("; Secure");
    expect(cookie({ basePath: "/hub" }, false)).toContain("; Path=/hub;");
  });

  test("reads, and changes something only from the same origin", () => {
    const { admin } = clocked();
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    expect(admin.requireAdmin(request({ cookie, host: OWN.host }), here)).toMatchObject({ ok: true });
    expect(admin.requireAdmin(request({ cookie, ...OWN }, "POST"), here)).toMatchObject({ ok: true });
    for (const origin of [
      undefined,
      "null",
      "http://evil.example",
      "http://127.0.0.1:2026",
      "http://localhost:2025",
    ]) {
      const headers: Record<string, string> = {
        cookie,
        host: OWN.host,
        ...(origin === undefined ? {} : { origin }),
      };
      expect(admin.requireAdmin(request(headers, "POST"), here)).toMatchObject({ ok: false, status: 403 });
      expect(admin.requireAdmin(request(headers, "DELETE"), here)).toMatchObject({ ok: false, status: 403 });
      expect(admin.signOut(request(headers, "POST"), here)).toMatchObject({ ok: false, status: 403 });
    }
    expect(admin.requireAdmin(request({ cookie }), here)).toMatchObject({ ok: true });
  });

  test("opens admin on an upgrade of the same origin, for as long as it lasts", () => {
    const { admin } = clocked();
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    const claims = admin.upgradeClaims(request({ cookie, ...OWN }), here);
    expect(claims).toMatchObject({ admin: true, expiresAt: 1_800_000_000_000 + SESSION_MS });
    expect(claims !== null && covers(claims, "admin")).toBe(true);
    expect(claims !== null && covers(claims, "system")).toBe(false);
    expect(admin.upgradeClaims(request({ cookie, host: OWN.host }), here)).toBeNull();
    expect(
      admin.upgradeClaims(request({ cookie, host: OWN.host, origin: "http://localhost:3000" }), here),
    ).toBeNull();
    expect(admin.upgradeClaims(request({ ...OWN }), here)).toBeNull();
  });

  test("ends after twelve hours", () => {
    const { admin, wait } = clocked();
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    wait(SESSION_MS - 1);
    expect(admin.requireAdmin(request({ cookie }), here).ok).toBe(true);
    wait(1);
    expect(admin.requireAdmin(request({ cookie }), here).ok).toBe(false);
  });

  test("outlives a restart where it is known which were ended, and ends with a new secret", () => {
    const { admin, again, wait, now } = clocked();
    const shared = new Revocations({ ...NO_STORE, complete: true }, now);
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    wait(1000);
    expect(again(shared).requireAdmin(request({ cookie }), here).ok).toBe(true);
    expect(again(new Revocations(undefined, now)).requireAdmin(request({ cookie }), here).ok).toBe(false);
    expect(clocked({ adminSecret: "a new secret" }).admin.requireAdmin(request({ cookie }), here).ok).toBe(
      false,
    );
  });

  test("goes on with the older of two secrets, which opens too", () => {
    const { admin, now } = clocked();
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    const revocations = new Revocations({ ...NO_STORE, complete: true }, now);
    const config = testConfig({ adminSecret: "a newer secret of it", olderAdminSecrets: [SECRET] });
    const rotated = createAdmin(config, { now, revocations });
    expect(rotated.requireAdmin(request({ cookie }), here).ok).toBe(true);
    for (const secret of [SECRET, "a newer secret of it"])
      expect(rotated.requireAdmin(request({ authorization: `Bearer ${secret}` }), here).ok).toBe(true);
  });

  test("ends by signing out, for a copy of its cookie too, and no other ends with it", () => {
    const { admin } = clocked();
    const one = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    const two = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    const answer = admin.signOut(request({ cookie: one, ...OWN }, "POST"), here);
    expect(answer.ok && answer.cookie).toStartWith("channel_session=; Path=/; Max-Age=0;");
    expect(admin.requireAdmin(request({ cookie: one }), here).ok).toBe(false);
    expect(admin.requireAdmin(request({ cookie: two }), here).ok).toBe(true);
  });

  test("can't be made, changed or stretched", () => {
    const { admin } = clocked();
    const cookie = cookieOf(admin.signIn(SECRET, request({}, "POST"), here));
    const [id, expiry, signature] = cookie.slice("channel_session=".length).split(".");
    const forged = [
      "",
      "x",
      "..",
      `${id}.${expiry}`,
      `${id}.${expiry}.`,
      `${id}.zzzzzzzzz.${signature}`,
      `x${id}.${expiry}.${signature}`,
      `${id}.${expiry}.${signature}.x`,
      `${id}.${expiry}.${signature?.slice(0, -1)}`,
      `${id}.${expiry}.${"é".repeat(43)}`,
    ];
    for (const value of forged) {
      expect(admin.requireAdmin(request({ cookie: `channel_session=${encodeURI(value)}` }), here).ok).toBe(
        false,
      );
    }
    expect(
      admin.requireAdmin(request({ cookie: `other=1; channel_session=forged; ${cookie}` }), here).ok,
    ).toBe(true);
  });

  test("ended ones stay ended although memory for them is bounded", () => {
    let time = 0;
    const now = () => time;
    const sessions = new AdminSessions(
      [deriveKey("secret", "session")],
      new Revocations(undefined, now),
      now,
    );
    const tokens: string[] = [];
    for (let count = 0; count < 10_500; count++) {
      time += 10;
      const { token, session } = sessions.create();
      sessions.revoke(session);
      tokens.push(token);
    }
    expect(tokens.filter((token) => sessions.cached(token) !== null)).toEqual([]);
    expect(tokens.filter((token) => typeof sessions.verify(token) === "object")).toEqual([]);
    time += 10;
    expect(sessions.verify(sessions.create().token)).toMatchObject({ ended: false });
  });
});

describe("the sign-in link", () => {
  test("is there only where no secret was configured, and good once", () => {
    expect(clocked().admin.signInCode).toBeNull();
    const { admin } = clocked({ adminSecretGenerated: true });
    const code = admin.signInCode ?? "";
    expect(code.length).toBeGreaterThanOrEqual(24);
    const cookie = cookieOf(admin.signInByCode(code, request(OWN, "POST"), here));
    expect(admin.requireAdmin(request({ cookie }), here).ok).toBe(true);
    expect(admin.signInByCode(code, request(OWN, "POST"), here)).toMatchObject({ ok: false, status: 401 });
  });

  test("without one, no code opens", () => {
    const { admin } = clocked();
    for (const code of ["", "null", "undefined"])
      expect(admin.signInByCode(code, request(OWN, "POST"), here).ok).toBe(false);
  });
});

describe("the same origin", () => {
  const same = (origin: string, host: string, publicUrl: string | null = null, https = false) =>
    isSameOrigin(new Headers({ origin, host }), publicUrl, https);

  test("is not a page of plain http where browsers come by TLS", () => {
    expect(same("http://hub.example", "hub.example", null, true)).toBe(false);
    expect(same("https://hub.example", "hub.example", null, true)).toBe(true);
    expect(same("http://hub.example", "hub.example", "https://hub.example")).toBe(false);
    expect(same("http://hub.example:8080", "hub.example:8080", "https://hub.example")).toBe(false);
    expect(same("https://hub.example", "hub.example", "https://hub.example")).toBe(true);
    // The operator who asks the server itself, beside the proxy.
    expect(same("http://127.0.0.1:2025", "127.0.0.1:2025", "https://hub.example")).toBe(true);
  });

  test("is host and port, with the port that a scheme implies left out", () => {
    expect(same("http://hub.example:2025", "hub.example:2025")).toBe(true);
    expect(same("https://hub.example", "hub.example")).toBe(true);
    expect(same("https://hub.example", "HUB.example:443")).toBe(true);
    expect(same("https://hub.example", "hub.example:80")).toBe(false);
    expect(same("http://hub.example:2026", "hub.example:2025")).toBe(false);
    expect(same("http://hub.example", "hub.example@evil.example")).toBe(false);
    for (const origin of ["null", "", "hub.example", "file://hub.example"])
      expect(same(origin, "hub.example")).toBe(false);
  });

  test("is not claimed by a page of another, whether it says so or its browser does", () => {
    const foreign = (headers: Record<string, string>) =>
      isForeign(new Headers({ host: "a.example", ...headers }), null, false);
    for (const headers of [{}, { origin: "https://a.example" }, { "sec-fetch-site": "same-origin" }])
      expect(foreign(headers)).toBe(false);
    expect(foreign({ "sec-fetch-site": "none" })).toBe(false);
    for (const site of ["cross-site", "same-site", "anything"])
      expect(foreign({ origin: "https://a.example", "sec-fetch-site": site })).toBe(true);
    for (const origin of ["null", "https://b.example"]) expect(foreign({ origin })).toBe(true);
  });

  test("is also public_url's, where a proxy asks for another host", () => {
    expect(same("https://hub.example", "127.0.0.1:2025", "https://hub.example/base")).toBe(true);
    expect(same("http://hub.example", "127.0.0.1:2025", "https://hub.example/base")).toBe(false);
  });
});

describe("API keys", () => {
  const apiKey = {
    name: "billing",
    keys: ["a key of a backend"],
    can: ["publish"],
    channels: ["room:*"],
  } as const;

  test("say who asks, open nothing that needs the administrator, and are no wrong guess", () => {
    const admin = createAdmin(testConfig({ apiKeys: [apiKey] }));
    const ask = (secret: string) => request({ authorization: `Bearer ${secret}` }, "POST");
    for (let i = 0; i < 20; i++) {
      expect(admin.authenticate(ask(apiKey.keys[0]), here)).toEqual({
        ok: true,
        principal: { kind: "key", key: apiKey },
      });
      expect(admin.requireAdmin(ask(apiKey.keys[0]), here)).toMatchObject({ ok: false, status: 403 });
    }
    expect(admin.authenticate(ask(SECRET), here)).toEqual({ ok: true, principal: { kind: "administrator" } });
    for (let i = 0; i < 10; i++)
      expect(admin.authenticate(ask("a guess"), here)).toMatchObject({ status: 401 });
    expect(admin.authenticate(ask(apiKey.keys[0]), here)).toMatchObject({ status: 429 });
  });
});

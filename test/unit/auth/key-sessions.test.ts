/** Sessions of API keys: what they may do is what the key may do, and no session can be turned into a larger one. */
import { describe, expect, test } from "bun:test";
import { type Admin, createAdmin } from "../../../src/auth/admin.ts";
import { AdminSessions, SESSION_MS } from "../../../src/auth/admin-session.ts";
import type { Act } from "../../../src/auth/audit.ts";
import { KeyMarks } from "../../../src/auth/key-marks.ts";
import { adminKeys } from "../../../src/auth/keys.ts";
import { Revocations } from "../../../src/auth/revocations.ts";
import type { ApiKey, Config } from "../../../src/config/config.ts";
import { testConfig } from "./config.ts";

const SECRET = testConfig().adminSecret;
const here = { address: "192.0.2.1", https: false, loopback: false };
/** Constant: a session from before the start of a server is valid only with a complete list of revocations. */
const START = 1_800_000_000_000;
const OWN = { host: "127.0.0.1:2025", origin: "http://127.0.0.1:2025" };

function apiKey(name: string, can: ApiKey["can"], channels: readonly string[] = ["*"]): ApiKey {
  return { name, keys: [`the key of ${name} of these tests`], can, channels };
}

const READER = apiKey("reader", ["read"]);
const MODERATOR = apiKey("moderator", ["read", "moderate"]);
const PUBLISHER = apiKey("publisher", ["publish"]);
const SCOPED = apiKey("scoped", ["read", "moderate"], ["room:*"]);
const KEYS = [READER, MODERATOR, PUBLISHER, SCOPED];

function created(changes: Partial<Config> = {}, now = () => START) {
  const acts: Act[] = [];
  const config = testConfig({ apiKeys: KEYS, ...changes });
  const admin = createAdmin(config, {
    now,
    revocations: new Revocations(undefined, now),
    audit: (act) => void acts.push(act),
  });
  return { admin, acts, config };
}

function request(headers: Record<string, string>, method = "GET"): Request {
  return new Request("http://127.0.0.1:2025/x", { method, headers });
}

/** The value of the cookie, without its attributes. */
function signedIn(admin: Admin, secret: string): string {
  const answer = admin.signIn(secret, request(OWN, "POST"), here);
  if (!answer.ok) throw new Error(answer.reason);
  return answer.cookie.split(";")[0]?.split("=")[1] ?? "";
}

function principal(admin: Admin, session: string, method = "GET", headers: Record<string, string> = OWN) {
  return admin.authenticate(request({ ...headers, cookie: `channel_session=${session}` }, method), here);
}

describe("signing in with an API key", () => {
  test("gives the rights of the key, for requests only", () => {
    const { admin, acts } = created();
    const session = signedIn(admin, READER.keys[0] ?? "");
    expect(principal(admin, session)).toMatchObject({ ok: true, principal: { kind: "key", key: READER } });
    const headers = { ...OWN, cookie: `channel_session=${session}` };
    expect(admin.requireAdmin(request(headers), here)).toMatchObject({ status: 403, code: "admin_only" });
    expect(admin.upgradeClaims(request(headers), here)).toBeNull();
    expect(acts).toMatchObject([{ act: "sign_in", who: "key:reader", result: "ok" }]);
    expect(JSON.stringify(acts)).not.toContain(READER.keys[0] ?? "");
  });

  test("is refused to a key that may not read, or not all channels", () => {
    const { admin, acts } = created();
    for (const [key, code] of [
      [PUBLISHER, "ability_missing"],
      [SCOPED, "all_channels_needed"],
    ] as const) {
      expect(admin.signIn(key.keys[0] ?? "", request(OWN, "POST"), here)).toMatchObject({
        ok: false,
        status: 403,
        code,
      });
    }
    expect(acts.map(({ result }) => result)).toEqual(["refused 403", "refused 403"]);
  });

  test("changes nothing for the administrator, whose sessions are as before", () => {
    const { admin } = created();
    const session = signedIn(admin, SECRET);
    expect(session.split(".")).toHaveLength(3);
    expect(principal(admin, session)).toMatchObject({ principal: { kind: "administrator" } });
    expect(principal(created().admin, session)).toMatchObject({ principal: { kind: "administrator" } });
  });

  test("a wrong key is rejected as a wrong secret is", () => {
    const { admin } = created();
    expect(admin.signIn("no key of these tests", request(OWN, "POST"), here)).toMatchObject({
      status: 401,
      code: "wrong_key",
    });
  });
});

describe("a key's session", () => {
  test("permits no change from another site", () => {
    const { admin } = created();
    const session = signedIn(admin, MODERATOR.keys[0] ?? "");
    expect(principal(admin, session, "POST")).toMatchObject({ ok: true });
    const foreign = { host: OWN.host, origin: "http://attacker.test" };
    expect(principal(admin, session, "POST", foreign)).toMatchObject({ status: 403, code: "own_pages_only" });
    expect(principal(admin, session, "POST", { host: OWN.host })).toMatchObject({ status: 403 });
  });

  test("cannot be raised: without its mark, or with that of another key, the signature is wrong", () => {
    const { admin, config } = created();
    const session = signedIn(admin, READER.keys[0] ?? "");
    const [id = "", expiry = "", own = "", signature = ""] = session.split(".");
    const marks = new KeyMarks(adminKeys(config, "session"), config.apiKeys);
    expect(own).toBe(marks.of(READER.keys[0] ?? ""));
    const moderator = marks.of(MODERATOR.keys[0] ?? "");
    for (const forged of [
      `${id}.${expiry}.${signature}`,
      `${id}.${expiry}.${moderator}.${signature}`,
      `${id}.${expiry}..${signature}`,
      `${id}.${expiry}.${own}.${own}.${signature}`,
      `${id}.${expiry}${own}.${signature}`,
      `${id}${expiry}.${own}.${signature}`,
    ]) {
      expect({ forged, ...principal(created().admin, forged) }).toMatchObject({ ok: false, status: 401 });
    }
  });

  test("an administrator's session is not valid with a mark", () => {
    const { admin, config } = created();
    const [id = "", expiry = "", signature = ""] = signedIn(admin, SECRET).split(".");
    const mark = new KeyMarks(adminKeys(config, "session"), config.apiKeys).of(READER.keys[0] ?? "");
    expect(principal(admin, `${id}.${expiry}.${mark}.${signature}`)).toMatchObject({ ok: false });
  });

  test("has the rights that the configuration gives the key now, and ends when the key is removed", () => {
    const { admin } = created();
    const session = signedIn(admin, MODERATOR.keys[0] ?? "");
    const reduced: ApiKey = { ...MODERATOR, can: ["read"] };
    expect(principal(created({ apiKeys: [reduced] }).admin, session)).toMatchObject({
      principal: { key: reduced },
    });
    expect(principal(created({ apiKeys: [READER] }).admin, session)).toMatchObject({
      status: 401,
      code: "not_signed_in",
    });
    expect(principal(created({ apiKeys: [] }).admin, session)).toMatchObject({ status: 401 });
  });

  test("stays valid while the admin secret is replaced", () => {
    const session = signedIn(created().admin, READER.keys[0] ?? "");
    const replaced = { adminSecret: "another secret of the administrator of these tests" };
    expect(principal(created({ ...replaced, olderAdminSecrets: [SECRET] }).admin, session)).toMatchObject({
      principal: { key: READER },
    });
    expect(principal(created(replaced).admin, session)).toMatchObject({ status: 401 });
  });

  test("expires, and ends by signing out", () => {
    let time = START;
    const { admin, acts } = created({}, () => time);
    const session = signedIn(admin, READER.keys[0] ?? "");
    const other = signedIn(admin, READER.keys[0] ?? "");
    const headers = { ...OWN, cookie: `channel_session=${session}` };
    expect(admin.signOut(request(headers, "POST"), here)).toMatchObject({ ok: true });
    expect(acts.at(-1)).toMatchObject({ act: "sign_out", who: "key:reader" });
    expect(principal(admin, session)).toMatchObject({ ok: false });
    expect(principal(admin, other)).toMatchObject({ ok: true });
    time += SESSION_MS;
    expect(principal(admin, other)).toMatchObject({ ok: false });
  });

  test("the parts of a session are told apart by their count", () => {
    const key = [new Uint8Array(32)];
    const sessions = new AdminSessions(key, new Revocations(), Date.now);
    const { token } = sessions.create("0123456789abcdef");
    expect(sessions.verify(token)).toMatchObject({ keyMark: "0123456789abcdef" });
    expect(sessions.verify(sessions.create().token)).toMatchObject({ keyMark: null });
  });
});

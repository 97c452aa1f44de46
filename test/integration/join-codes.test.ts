import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { connectGroups } from "./groups/groups-client.ts";
import { mint, type PhoenixClient } from "./phoenix-client.ts";
import { ADMIN_SECRET, SECRET, startWorld, type World } from "./world.ts";

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token signed with an Ed25519 key. */
function signedBy(key: KeyObject, kid: string, claims: object): string {
  const signed = `${part({ alg: "EdDSA", kid })}.${part({ id: "alice", channel: "room", exp: inSeconds(60), ...claims })}`;
  return `${signed}.${sign(null, Buffer.from(signed), key).toString("base64url")}`;
}

/** Serves a key set on loopback until it is stopped. */
function serveKeySet(kid: string) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const keys = [{ ...publicKey.export({ format: "jwk" }), kid, alg: "EdDSA", use: "sig" }];
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => Response.json({ keys }) });
  return { privateKey, url: `http://127.0.0.1:${server.port}/jwks`, stop: () => server.stop(true) };
}

describe("a rejected join logs its code, and replies with it unless that helps an attacker", () => {
  const known = serveKeySet("known");
  const unknownKey = generateKeyPairSync("ed25519").privateKey;
  let world: World;
  let client: PhoenixClient;
  beforeAll(async () => {
    world = await startWorld("embedded", {
      toml: `jwt_issuer = "us"\njwt_audience = "hub"\njwks_url = "${known.url}"\n`,
      args: ["--log-level", "debug"],
    });
    client = await world.connect();
  });
  afterAll(async () => {
    await world.stop();
    await known.stop();
  });

  const validClaims = { id: "alice", channel: "room", iss: "us", aud: "hub" };
  const hs256 = (claims: object, secret = SECRET, header = {}) =>
    mint({ ...validClaims, ...claims }, secret, header);

  const cases: readonly [string, string, () => string | undefined, boolean, string?][] = [
    ["no token", "token_missing", () => undefined, true],
    ["no exp", "exp_missing", () => hs256({ exp: undefined }), true],
    ["another channel", "channel_not_covered", () => hs256({ channel: "elsewhere" }), true],
    ["not yet valid", "token_not_yet_valid", () => hs256({ nbf: inSeconds(600) }), true],
    ["another issuer", "wrong_issuer", () => hs256({ iss: "them" }), true],
    ["another audience", "wrong_audience", () => hs256({ aud: "other" }), true],
    ["no user", "claims_unusable", () => hs256({ id: 7 }), true],
    ["admin by jwt_secret", "admin_token_needed", () => hs256({ channel: "admin" }), true, "admin"],
    ["another secret", "bad_signature", () => hs256({}, "another secret, long enough to be one"), false],
    ["no JWT", "token_malformed", () => "not a token", false],
    ["another algorithm", "algorithm_not_allowed", () => hs256({}, SECRET, { alg: "HS512" }), false],
    ["no algorithm", "algorithm_not_allowed", () => hs256({}, SECRET, { alg: "none" }), false],
    ["an unknown key", "unknown_key", () => signedBy(unknownKey, "unknown", validClaims), false],
    ["a known name, another key", "bad_signature", () => signedBy(unknownKey, "known", validClaims), false],
    [
      "a known key, another channel",
      "channel_not_covered",
      () => signedBy(known.privateKey, "known", { ...validClaims, channel: "x" }),
      true,
    ],
    [
      "a known key, no exp",
      "exp_missing",
      () => signedBy(known.privateKey, "known", { ...validClaims, exp: undefined }),
      true,
    ],
  ];
  for (const [what, code, token, disclosed, topic = "room"] of cases) {
    test(`${what}: ${code}`, async () => {
      const before = world.channel.lines.length;
      const given = token();
      const { status, response } = await client.join(topic, given === undefined ? {} : { token: given });
      expect(status).toBe("error");
      expect(response).toEqual(disclosed ? { reason: "unauthorized", code } : { reason: "unauthorized" });
      const line = await world.channel.log.until(({ message }) => message === "join refused", "the line");
      expect(line).toMatchObject({ reason: "unauthorized", code, channel: topic });
      expect(world.channel.lines.slice(before).length).toBeGreaterThan(0);
    });
  }

  test("replies with its own reason and logs the code", async () => {
    for (const [claims, reason, code] of [
      [{ exp: inSeconds(-60) }, "token expired", "token_expired"],
      [{ can: [] }, "forbidden", "join_not_allowed"],
    ] as const) {
      expect((await client.join("room", { token: hs256(claims) })).response).toEqual({ reason });
      const line = await world.channel.log.until(({ message }) => message === "join refused", "the line");
      expect(line).toMatchObject({ reason, code });
    }
  });

  test("logs a ban and does not disclose it in the reply", async () => {
    await fetch(`${world.channel.url}/api/disconnect`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_SECRET}` },
      body: JSON.stringify({ id: "banned", ban: "1h" }),
    });
    const { response } = await client.join("room", { token: hs256({ id: "banned" }) });
    expect(response).toEqual({ reason: "unauthorized" });
    const line = await world.channel.log.until(({ message }) => message === "join refused", "the line");
    expect(line).toMatchObject({ code: "user_banned" });
  });

  test("a renewal for another user and the token of a group socket have their own codes", async () => {
    expect((await client.join("room", { token: hs256({}) })).status).toBe("ok");
    const payload = JSON.stringify({ token: hs256({ id: "bob" }) });
    const { response } = await client.ask({ topic: "room", event: "access_token", payload });
    expect(response).toEqual({ reason: "unauthorized", code: "other_user" });
    const groups = await connectGroups(world.channel.url, { params: { token: hs256({}, "x".repeat(40)) } });
    await groups.next();
    const line = await world.channel.log.until(({ protocol }) => protocol === "groups", "the line");
    expect(line).toMatchObject({ message: "join refused", code: "bad_signature" });
    groups.socket.cut();
  });
});

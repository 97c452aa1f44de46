import { describe, expect, test } from "bun:test";
import { createHmac, generateKeyPairSync } from "node:crypto";
import { exportJWK, SignJWT } from "jose";
import { deriveKey } from "../../../src/auth/keys.ts";
import { createMint } from "../../../src/auth/mint.ts";
import {
  type Claims,
  covers,
  type Verdict,
  createVerifier as verifierOf,
} from "../../../src/auth/verifier.ts";
import { testConfig } from "./config.ts";

const NOW = 1_800_000_000_000;
const SECONDS = NOW / 1000;
const now = () => NOW;
const config = testConfig();
const secret = new TextEncoder().encode(config.jwtSecret);
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");

/** Verifies what comes from one address. */
function createVerifier(...parts: Parameters<typeof verifierOf>) {
  const verify = verifierOf(...parts);
  return (token: string) => verify(token, { address: "192.0.2.1" });
}

function pem(pair: { publicKey: typeof rsa.publicKey }): string {
  return pair.publicKey.export({ type: "spki", format: "pem" }).toString();
}

function hs256(payload: object | string, key: Uint8Array = secret): string {
  const text = typeof payload === "string" ? payload : JSON.stringify({ exp: SECONDS + 60, ...payload });
  const parts = ['{"typ":"JWT","alg":"HS256"}', text].map((part) => Buffer.from(part).toString("base64url"));
  const signed = parts.join(".");
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

function claimsOf(verdict: Verdict | Promise<Verdict>): Claims {
  if (verdict instanceof Promise || !verdict.ok) throw new Error("no claims at once");
  return verdict.claims;
}

const UNAUTHORIZED: Verdict = { ok: false, reason: "unauthorized", code: expect.any(String) };
const verify = createVerifier(config, now);

describe("claims", () => {
  test("a token as Tangram makes it is good at once", () => {
    expect(verify(hs256({ id: "alice", channel: "system" }))).toEqual({
      ok: true,
      claims: {
        user: "alice",
        channels: ["system"],
        can: { join: true, push: true, presence: true },
        expiresAt: NOW + 65_000,
        admin: false,
      },
    });
  });

  test("channels may be a list, and stand beside channel", () => {
    expect(claimsOf(verify(hs256({ id: "a", channels: ["x", "room:*"] }))).channels).toEqual(["x", "room:*"]);
    expect(claimsOf(verify(hs256({ id: "a", channels: "x" }))).channels).toEqual(["x"]);
    expect(claimsOf(verify(hs256({ id: "a", channels: ["x"], channel: "y" }))).channels).toEqual(["x", "y"]);
  });

  test("no channel, or one that is no text, is unauthorized", () => {
    for (const claims of [
      {},
      { channel: 1 },
      { channels: ["a", 1] },
      { channel: { a: 1 } },
      { channels: [["a"]] },
    ]) {
      expect(verify(hs256({ id: "a", ...claims }))).toEqual(UNAUTHORIZED);
    }
  });

  test("the user is id, else sub", () => {
    expect(claimsOf(verify(hs256({ sub: "s", channel: "x" }))).user).toBe("s");
    expect(claimsOf(verify(hs256({ id: "i", sub: "s", channel: "x" }))).user).toBe("i");
    expect(claimsOf(verify(hs256({ id: "__proto__", channel: "x" }))).user).toBe("__proto__");
    expect(verify(hs256({ channel: "x" }))).toEqual(UNAUTHORIZED);
  });

  test("a user that is no well-formed text of at most 256 bytes is unauthorized", () => {
    expect(claimsOf(verify(hs256({ id: "é".repeat(128), channel: "x" }))).user).toHaveLength(128);
    for (const id of [7, true, {}, ["a"], "a".repeat(257), "é".repeat(129)]) {
      expect(verify(hs256({ id, channel: "x" }))).toEqual(UNAUTHORIZED);
    }
    expect(verify(hs256(`{"id":"\\ud800","channel":"x","exp":1900000000}`))).toEqual(UNAUTHORIZED);
  });

  test("claims on the prototype are none", () => {
    const text = '{"__proto__":{"id":"admin","channel":"system"},"exp":1900000000}';
    expect(verify(hs256(text))).toEqual(UNAUTHORIZED);
    const named = createVerifier(testConfig({ claims: { id: "constructor", channels: "toString" } }), now);
    expect(claimsOf(named(hs256({ id: "a", channel: "x" }))).user).toBe("a");
  });

  test("can narrows, unknown words are ignored, and what is no list is unauthorized", () => {
    const can = (value: unknown) => claimsOf(verify(hs256({ id: "a", channel: "x", can: value }))).can;
    expect(can(["join"])).toEqual({ join: true, push: false, presence: false });
    expect(can(["fly", "push", 7])).toEqual({ join: false, push: true, presence: false });
    expect(can([])).toEqual({ join: false, push: false, presence: false });
    for (const value of ["join", null, { join: true }, true]) {
      expect(verify(hs256({ id: "a", channel: "x", can: value }))).toEqual(UNAUTHORIZED);
    }
  });

  test("renamed claims are read, and what this service and Tangram mint stays good", () => {
    const renamed = createVerifier(testConfig({ claims: { id: "uid", channels: "rooms" } }), now);
    expect(claimsOf(renamed(hs256({ uid: "u", id: "i", rooms: ["r"] })))).toMatchObject({
      user: "u",
      channels: ["r"],
    });
    expect(claimsOf(renamed(hs256({ id: "i", channel: "c" })))).toMatchObject({ user: "i", channels: ["c"] });
  });

  test("an exp ten years or ten thousand away is a time, not an overflow", () => {
    const far = claimsOf(verify(hs256({ id: "a", channel: "x", exp: SECONDS + 315_360_000 })));
    expect(far.expiresAt).toBe(NOW + 315_360_005_000);
    expect(claimsOf(verify(hs256({ id: "a", channel: "x", exp: 1e300 }))).expiresAt).toBe(
      Number.MAX_SAFE_INTEGER,
    );
  });

  test("a second beyond the leeway it is expired", () => {
    expect(verify(hs256({ id: "a", channel: "x", exp: SECONDS - 6 }))).toEqual({
      ok: false,
      reason: "token expired",
      code: "token_expired",
    });
  });
});

describe("covers", () => {
  const holder = (channels: string[], admin = false): Claims => ({
    user: "a",
    channels,
    can: { join: true, push: true, presence: true },
    expiresAt: NOW,
    admin,
  });

  test("a name covers itself only, a pattern all that starts as it does", () => {
    expect(covers(holder(["system"]), "system")).toBe(true);
    expect(covers(holder(["system"]), "system2")).toBe(false);
    expect(covers(holder(["system"]), "System")).toBe(false);
    expect(covers(holder(["room:*"]), "room:1")).toBe(true);
    expect(covers(holder(["room:*"]), "room:")).toBe(true);
    expect(covers(holder(["room:*"]), "room:*")).toBe(true);
    expect(covers(holder(["room:*"]), "room")).toBe(false);
    expect(covers(holder(["*"]), "anything")).toBe(true);
    expect(covers(holder(["a*c"]), "abc")).toBe(false);
    expect(covers(holder(["a", "b"]), "b")).toBe(true);
    expect(covers(holder([]), "a")).toBe(false);
    expect(covers(holder(["[a-z]", "?"]), "b")).toBe(false);
  });

  test("admin is covered by its own name in an administrator's token, by nothing else", () => {
    expect(covers(holder(["admin"], true), "admin")).toBe(true);
    expect(covers(holder(["admin"]), "admin")).toBe(false);
    for (const pattern of ["*", "a*", "admin*"]) expect(covers(holder([pattern], true), "admin")).toBe(false);
    expect(covers(holder(["admin*"]), "admins")).toBe(true);
  });
});

describe("administrators' tokens", () => {
  test("only the key derived from the administrator's secret makes one", () => {
    const key = deriveKey(config.adminSecret, "token");
    expect(claimsOf(verify(hs256({ id: "a", channel: "admin" }, key))).admin).toBe(true);
    expect(claimsOf(verify(hs256({ id: "a", channel: "admin" }))).admin).toBe(false);
    const raw = new TextEncoder().encode(config.adminSecret);
    expect(verify(hs256({ id: "a", channel: "admin" }, raw))).toEqual(UNAUTHORIZED);
    expect(verify(hs256({ id: "a", channel: "admin" }, deriveKey(config.adminSecret, "session")))).toEqual(
      UNAUTHORIZED,
    );
    expect(verify(hs256({ id: "a", channel: "admin" }, deriveKey("another", "token")))).toEqual(UNAUTHORIZED);
  });
});

describe("minting", () => {
  const mint = createMint(config, now);

  test("what is minted says what Tangram's tokens say, and no more", async () => {
    const token = await mint({ id: "client1", channels: { channel: "system" } });
    const [header, payload] = token.split(".").map((part) => Buffer.from(part, "base64url").toString());
    expect(header).toBe('{"typ":"JWT","alg":"HS256"}');
    expect(payload).toBe(`{"id":"client1","channel":"system","exp":${SECONDS + 259_200}}`);
    expect(claimsOf(verify(token))).toMatchObject({ user: "client1", channels: ["system"], admin: false });
  });

  test("several channels, a length of its own, a short secret", async () => {
    const short = testConfig({ jwtSecret: "secret" });
    const token = await createMint(
      short,
      now,
    )({ id: "a", channels: { channels: ["x", "y*"] }, expiresInSecs: 10 });
    expect(claimsOf(createVerifier(short, now)(token))).toMatchObject({
      channels: ["x", "y*"],
      expiresAt: NOW + 15_000,
    });
  });

  test("a token that names admin is an administrator's, alone or among others", async () => {
    for (const channels of [{ channel: "admin" }, { channels: ["system", "admin"] }]) {
      const claims = claimsOf(verify(await mint({ id: "a", channels })));
      expect(claims.admin).toBe(true);
      expect(covers(claims, "admin")).toBe(true);
    }
    expect(claimsOf(verify(await mint({ id: "a", channels: { channel: "admin*" } }))).admin).toBe(false);
  });

  test("with issuer and audience configured, its own tokens stay good", async () => {
    const strict = testConfig({ jwtIssuer: "https://issuer.example", jwtAudience: "channel" });
    const token = await createMint(strict, now)({ id: "a", channels: { channel: "x" } });
    expect(claimsOf(createVerifier(strict, now)(token)).user).toBe("a");
    expect(createVerifier(strict, now)(hs256({ id: "a", channel: "x" }))).toEqual(UNAUTHORIZED);
  });
});

function signed(
  alg: string,
  pair: { privateKey: typeof rsa.privateKey },
  changes: object = {},
  header: object = {},
) {
  return new SignJWT({ id: "a", channel: "x", exp: SECONDS + 60, ...changes })
    .setProtectedHeader({ alg, ...header })
    .sign(pair.privateKey);
}

describe("a public key", () => {
  test("RS256, ES256 and EdDSA verify, each with its own kind of key only", async () => {
    const pairs = { RS256: rsa, ES256: ec, EdDSA: ed } as const;
    for (const [alg, pair] of Object.entries(pairs)) {
      const check = createVerifier(testConfig({ jwtPublicKey: pem(pair) }), now);
      expect(await check(await signed(alg, pair))).toMatchObject({
        ok: true,
        claims: { user: "a", admin: false },
      });
      for (const [other, stranger] of Object.entries(pairs)) {
        if (other !== alg) expect(await check(await signed(other, stranger))).toEqual(UNAUTHORIZED);
      }
      expect(await check(await signed(alg, pair, { exp: SECONDS - 6 }))).toEqual({
        ok: false,
        reason: "token expired",
        code: "token_expired",
      });
      expect(await check(await signed(alg, pair, { exp: undefined }))).toEqual(UNAUTHORIZED);
      expect(await check(await signed(alg, pair, { channel: "admin" }))).toMatchObject({
        claims: { admin: false },
      });
    }
  });

  test("the public key's text is no HS256 secret", async () => {
    const check = createVerifier(testConfig({ jwtPublicKey: pem(rsa) }), now);
    for (const text of [pem(rsa), pem(rsa).trim(), pem(rsa).replaceAll("\n", "")]) {
      expect(await check(hs256({ id: "a", channel: "x" }, new TextEncoder().encode(text)))).toEqual(
        UNAUTHORIZED,
      );
    }
    const der = rsa.publicKey.export({ type: "spki", format: "der" });
    expect(await check(hs256({ id: "a", channel: "x" }, new Uint8Array(der)))).toEqual(UNAUTHORIZED);
  });

  test("HS256 goes by jwt_secret only, also where that was made for this run", async () => {
    for (const jwtSecretGenerated of [true, false]) {
      const both = testConfig({ jwtPublicKey: pem(rsa), jwtSecretGenerated });
      const check = createVerifier(both, now);
      const token = await createMint(both, now)({ id: "own", channels: { channel: "x" } });
      expect(claimsOf(check(token)).user).toBe("own");
    }
  });

  test("other algorithms of the same key, alg none and keys in the header are refused", async () => {
    const check = createVerifier(testConfig({ jwtPublicKey: pem(rsa) }), now);
    const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const jwk = await exportJWK(stranger.publicKey);
    expect(await check(await signed("PS256", rsa))).toEqual(UNAUTHORIZED);
    expect(await check(await signed("RS512", rsa))).toEqual(UNAUTHORIZED);
    expect(await check(await signed("RS256", stranger, {}, { jwk }))).toEqual(UNAUTHORIZED);
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.e30.`;
    expect(await check(none)).toEqual(UNAUTHORIZED);
  });

  test("claims renamed for tokens from elsewhere are the only ones read there", async () => {
    const check = createVerifier(
      testConfig({ jwtPublicKey: pem(ed), claims: { id: "uid", channels: "rooms" } }),
      now,
    );
    expect(await check(await signed("EdDSA", ed, { uid: "u", rooms: ["r"] }))).toMatchObject({
      claims: { user: "u", channels: ["r"] },
    });
    expect(await check(await signed("EdDSA", ed, { sub: "s" }))).toEqual(UNAUTHORIZED);
  });

  test("text that is no such key is refused at start, in one sentence", () => {
    const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const own = ed.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    for (const text of ["", "nonsense", pem(p384), pem(weak), own]) {
      expect(() => createVerifier(testConfig({ jwtPublicKey: text }), now)).toThrow(/^jwt_public_key .*\.$/);
    }
  });
});

describe("a key set", () => {
  function keyServer(answer: (asked: number) => Response | Promise<Response>) {
    let asked = 0;
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => answer(++asked) });
    return { url: `http://127.0.0.1:${server.port}/keys`, asked: () => asked, stop: () => server.stop(true) };
  }

  test("its keys verify, and tokens of unknown keys do not make it be fetched again and again", async () => {
    const keys = [{ ...(await exportJWK(ec.publicKey)), kid: "one", alg: "ES256", use: "sig" }];
    const server = keyServer(() => Response.json({ keys }));
    try {
      const check = createVerifier(testConfig({ jwksUrl: server.url }), now);
      expect(server.asked()).toBe(0);
      expect(await check(await signed("ES256", ec, {}, { kid: "one" }))).toMatchObject({ ok: true });
      for (let round = 0; round < 5; round++) {
        expect(await check(await signed("ES256", ec, {}, { kid: `unknown${round}` }))).toEqual(UNAUTHORIZED);
        expect(await check(await signed("RS256", rsa, {}, { kid: "one" }))).toEqual(UNAUTHORIZED);
      }
      expect(server.asked()).toBe(1);
    } finally {
      await server.stop();
    }
  });

  test("a symmetric key in it, or one of ours, verifies nothing", async () => {
    const k = Buffer.from("the key set's own symmetric key, 32+").toString("base64url");
    const server = keyServer(() => Response.json({ keys: [{ kty: "oct", k, kid: "one", alg: "HS256" }] }));
    try {
      const check = createVerifier(testConfig({ jwksUrl: server.url }), now);
      const token = hs256({ id: "a", channel: "x" }, Buffer.from(k, "base64url"));
      expect(await check(token)).toEqual(UNAUTHORIZED);
    } finally {
      await server.stop();
    }
  });

  test("with a public key beside it, either signs", async () => {
    const keys = [{ ...(await exportJWK(ec.publicKey)), kid: "one" }];
    const server = keyServer(() => Response.json({ keys }));
    try {
      const check = createVerifier(testConfig({ jwksUrl: server.url, jwtPublicKey: pem(rsa) }), now);
      expect(await check(await signed("ES256", ec, {}, { kid: "one" }))).toMatchObject({ ok: true });
      expect(await check(await signed("RS256", rsa))).toMatchObject({ ok: true });
    } finally {
      await server.stop();
    }
  });

  test("an address that fails is not hammered, and answers again are taken again", async () => {
    const keys = [{ ...(await exportJWK(ec.publicKey)), kid: "one" }];
    let broken = true;
    const server = keyServer(() => (broken ? new Response("no", { status: 500 }) : Response.json({ keys })));
    try {
      const check = createVerifier(testConfig({ jwksUrl: server.url }), now);
      const token = await signed("ES256", ec, {}, { kid: "one" });
      for (let round = 0; round < 10; round++) expect(await check(token)).toEqual(UNAUTHORIZED);
      expect(server.asked()).toBe(1);
      broken = false;
      await Bun.sleep(1_050);
      expect(await check(token)).toMatchObject({ ok: true });
    } finally {
      await server.stop();
    }
  });

  test("one that is no key set, or not there, refuses and never throws", async () => {
    const token = await signed("ES256", ec);
    for (const body of ["", "[]", "null", '{"keys":1}', '{"keys":[1]}', '{"keys":[{"kty":"EC"}]}']) {
      const server = keyServer(() => new Response(body));
      expect(await createVerifier(testConfig({ jwksUrl: server.url }), now)(token)).toEqual(UNAUTHORIZED);
      await server.stop();
    }
    const gone = createVerifier(testConfig({ jwksUrl: "http://127.0.0.1:1/keys" }), now);
    expect(await gone(token)).toEqual(UNAUTHORIZED);
    expect(() => createVerifier(testConfig({ jwksUrl: "nonsense" }), now)).toThrow(/^jwks_url /);
  });

  test("one that never answers holds a join for five seconds and no longer", async () => {
    const server = keyServer(() => new Promise<Response>(() => {}));
    try {
      const begin = performance.now();
      expect(
        await createVerifier(testConfig({ jwksUrl: server.url }), now)(await signed("ES256", ec)),
      ).toEqual(UNAUTHORIZED);
      const waited = performance.now() - begin;
      expect(waited).toBeGreaterThan(4_000);
    } finally {
      await server.stop();
    }
  }, 30_000);
});

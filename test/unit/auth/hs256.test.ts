import { describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { errors, jwtVerify } from "jose";
import { MAX_TOKEN_BYTES, type TokenRules, verifyHs256 } from "../../../src/auth/hs256.ts";

const KEY = new TextEncoder().encode("a secret that is long enough for HS256");
const OTHER = new TextEncoder().encode("another secret, and long enough as well");
const NOW = 1_800_000_000_000;
const SECONDS = NOW / 1000;
const NO_RULES: TokenRules = { issuer: null, audience: null };

function base64url(value: unknown): string {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
}

function sign(header: unknown, payload: unknown, key: Uint8Array = KEY): string {
  const signed = `${base64url(header)}.${base64url(payload)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

const HEADER = { alg: "HS256", typ: "JWT" };
const good = { id: "alice", channel: "system", exp: SECONDS + 60 };

function verdict(token: string, rules = NO_RULES, keys = [KEY]): string {
  const result = verifyHs256(token, keys, rules, NOW);
  return result.ok ? "ok" : result.reason;
}

describe("HS256", () => {
  test("a good token gives its payload and the key that signed it", () => {
    expect(verifyHs256(sign(HEADER, good), [OTHER, KEY], NO_RULES, NOW)).toEqual({
      ok: true,
      payload: good,
      key: 1,
    });
  });

  test("a token of another key is refused", () => {
    expect(verdict(sign(HEADER, good, OTHER))).toBe("unauthorized");
  });

  test("another algorithm is refused, however well it is signed", () => {
    for (const alg of [
      "none",
      "None",
      "hs256",
      "HS384",
      "HS512",
      "RS256",
      "",
      null,
      1,
      ["HS256"],
      undefined,
    ]) {
      expect(verdict(sign({ ...HEADER, alg }, good))).toBe("unauthorized");
    }
  });

  test("alg none without a signature is refused", () => {
    const bare = `${base64url({ alg: "none" })}.${base64url(good)}`;
    for (const token of [bare, `${bare}.`, `${bare}..`, `${base64url(HEADER)}.${base64url(good)}.`]) {
      expect(verdict(token)).toBe("unauthorized");
    }
  });

  test("keys and addresses of keys in the header change nothing", () => {
    const jwk = { kty: "oct", k: Buffer.from(OTHER).toString("base64url") };
    const header = {
      ...HEADER,
      jwk,
      jku: "http://127.0.0.1:1/keys",
      x5u: "http://127.0.0.1:1/cert",
      kid: "../../etc",
    };
    expect(verdict(sign(header, good, OTHER))).toBe("unauthorized");
    expect(verdict(sign(header, good))).toBe("ok");
  });

  test("crit is refused, known extension or not", () => {
    expect(verdict(sign({ ...HEADER, crit: ["exp"], exp: 1 }, good))).toBe("unauthorized");
    expect(verdict(sign({ ...HEADER, crit: ["b64"], b64: true }, good))).toBe("unauthorized");
    expect(verdict(sign({ ...HEADER, crit: [] }, good))).toBe("unauthorized");
  });

  test("exp is required, is a number, and has five seconds of leeway", () => {
    const { exp: _, ...eternal } = good;
    expect(verdict(sign(HEADER, eternal))).toBe("unauthorized");
    for (const exp of ["1900000000", null, true, {}, [SECONDS + 60]]) {
      expect(verdict(sign(HEADER, { ...good, exp }))).toBe("unauthorized");
    }
    expect(verdict(sign(HEADER, { ...good, exp: SECONDS - 4 }))).toBe("ok");
    expect(verdict(sign(HEADER, { ...good, exp: SECONDS - 5 }))).toBe("token expired");
    expect(verdict(sign(HEADER, { ...good, exp: SECONDS - 6 }))).toBe("token expired");
    expect(verdict(sign(HEADER, { ...good, exp: -1 }))).toBe("token expired");
  });

  test("an expired token of another key is unauthorized: nothing of it is believed", () => {
    expect(verdict(sign(HEADER, { ...good, exp: 1 }, OTHER))).toBe("unauthorized");
  });

  test("nbf has five seconds of leeway", () => {
    expect(verdict(sign(HEADER, { ...good, nbf: SECONDS + 5 }))).toBe("ok");
    expect(verdict(sign(HEADER, { ...good, nbf: SECONDS + 6 }))).toBe("unauthorized");
    expect(verdict(sign(HEADER, { ...good, nbf: "soon" }))).toBe("unauthorized");
  });

  test("issuer and audience are checked if configured", () => {
    const rules = { issuer: "https://issuer.example", audience: "channel" };
    expect(verdict(sign(HEADER, good), rules)).toBe("unauthorized");
    expect(verdict(sign(HEADER, { ...good, iss: rules.issuer, aud: "channel" }), rules)).toBe("ok");
    expect(verdict(sign(HEADER, { ...good, iss: rules.issuer, aud: ["x", "channel"] }), rules)).toBe("ok");
    expect(verdict(sign(HEADER, { ...good, iss: rules.issuer, aud: "channel2" }), rules)).toBe(
      "unauthorized",
    );
    expect(verdict(sign(HEADER, { ...good, iss: rules.issuer, aud: ["x"] }), rules)).toBe("unauthorized");
    expect(verdict(sign(HEADER, { ...good, iss: "https://other.example", aud: "channel" }), rules)).toBe(
      "unauthorized",
    );
    expect(verdict(sign(HEADER, { ...good, iss: [rules.issuer], aud: "channel" }), rules)).toBe(
      "unauthorized",
    );
  });

  test("more or fewer than three parts are refused", () => {
    const token = sign(HEADER, good);
    const [header, payload, signature] = token.split(".");
    const others = [
      "",
      ".",
      "..",
      "...",
      `${header}.${payload}`,
      `${token}.`,
      `.${token}`,
      `${token}.${signature}`,
      `${header}.${payload}.${payload}.${signature}`,
      `${header}..${signature}`,
      `.${payload}.${signature}`,
      ` ${token}`,
      `${token} `,
      `${token}\n`,
    ];
    for (const other of others) expect(verdict(other)).toBe("unauthorized");
  });

  test("one token has one text: base64url must be canonical", () => {
    const token = sign(HEADER, good);
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const last = alphabet.indexOf(token.slice(-1));
    for (let other = 0; other < 64; other++) {
      if (other !== last) expect(verdict(token.slice(0, -1) + alphabet.charAt(other))).toBe("unauthorized");
    }
    expect(verdict(`${token}=`)).toBe("unauthorized");
    for (const signed of [
      `${base64url(HEADER)}=.${base64url(good)}`,
      `${base64url(HEADER)}.${base64url(good)}=`,
    ]) {
      expect(verdict(`${signed}.${createHmac("sha256", KEY).update(signed).digest("base64url")}`)).toBe(
        "unauthorized",
      );
    }
  });

  test("a header or payload that is no JSON object in UTF-8 is refused", () => {
    for (const text of ["", "null", "[]", "1", '"x"', "{", '{"alg":"HS256"', "\u00ff"]) {
      expect(verdict(sign(text, good))).toBe("unauthorized");
      expect(verdict(sign(HEADER, text))).toBe("unauthorized");
    }
    const bytes = Buffer.concat([
      Buffer.from('{"exp":1900000000,"id":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    const signed = `${base64url(HEADER)}.${bytes.toString("base64url")}`;
    expect(verdict(`${signed}.${createHmac("sha256", KEY).update(signed).digest("base64url")}`)).toBe(
      "unauthorized",
    );
  });

  test("names of the prototype are claims like any other", () => {
    expect(verdict(sign(HEADER, '{"__proto__":{"exp":1900000000},"id":"x"}'))).toBe("unauthorized");
    expect(verdict(sign('{"__proto__":{"alg":"HS256"}}', good))).toBe("unauthorized");
    const result = verifyHs256(sign(HEADER, '{"__proto__":"x","exp":1900000000}'), [KEY], NO_RULES, NOW);
    expect(result.ok && Object.keys(result.payload)).toEqual(["__proto__", "exp"]);
  });

  test("over 8 KiB it is refused unread", () => {
    const room = MAX_TOKEN_BYTES - sign(HEADER, { ...good, pad: "" }).length;
    const pad = "x".repeat(Math.floor((room * 3) / 4) - 4);
    expect(verdict(sign(HEADER, { ...good, pad }))).toBe("ok");
    expect(verdict(sign(HEADER, { ...good, pad: `${pad}${"x".repeat(16)}` }))).toBe("unauthorized");
    expect(verdict(`${"e".repeat(50_000_000)}.x.x`)).toBe("unauthorized");
  });

  test("nothing makes it throw", () => {
    for (const token of [
      "\ud800.\ud800.\ud800",
      "\u0000.\u0000.\u0000",
      `${"é".repeat(10)}.é.${"é".repeat(43)}`,
    ]) {
      expect(verdict(token)).toBe("unauthorized");
    }
  });
});

/** Mulberry32: small, seeded, good enough to pick mutations. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const RULES = { issuer: "https://issuer.example", audience: "channel" };

async function byJose(token: string, ruled: boolean): Promise<string> {
  try {
    await jwtVerify(token, KEY, {
      algorithms: ["HS256"],
      clockTolerance: 5,
      currentDate: new Date(NOW),
      requiredClaims: ["exp"],
      ...(ruled ? RULES : {}),
    });
    return "ok";
  } catch (error) {
    return error instanceof errors.JWTExpired ? "token expired" : "unauthorized";
  }
}

/** Where we are stricter than jose, and why: see the docblock of `verifyHs256`. */
function stricterHere(token: string): boolean {
  const parts = token.split(".");
  if (parts.some((part) => Buffer.from(part, "base64url").toString("base64url") !== part)) return true;
  const texts = parts.slice(0, 2).map((part) => Buffer.from(part, "base64url").toString());
  return texts.some((text) => text.startsWith("\ufeff")) || (texts[0] ?? "").includes('"crit"');
}

describe("HS256 beside jose", () => {
  test("both say the same of thousands of changed tokens", async () => {
    const next = random(20_260_728);
    const pick = <T>(values: readonly [T, ...T[]]): T =>
      values[Math.floor(next() * values.length)] ?? values[0];
    const times = [
      SECONDS - 6,
      SECONDS - 5,
      SECONDS - 4,
      SECONDS,
      SECONDS + 5,
      SECONDS + 6,
      SECONDS + 1e9,
    ] as const;
    const odd = ["1", null, true, {}, [], -1, 0, 1e300, SECONDS - 4.5, SECONDS + 5.5, "__proto__"] as const;
    const seen = { ok: 0, "token expired": 0, unauthorized: 0, stricter: 0 };

    for (let round = 0; round < 8000; round++) {
      const header: Record<string, unknown> = { ...HEADER };
      const payload: Record<string, unknown> = { ...good };
      if (next() < 0.5)
        Object.assign(payload, { iss: RULES.issuer, aud: pick<unknown>(["channel", ["channel", "b"]]) });
      for (let changes = Math.floor(next() * 4); changes > 0; changes--) {
        const claim = pick(["exp", "exp", "nbf", "iat", "iss", "aud", "id"]);
        payload[claim] = next() < 0.7 && claim !== "iss" ? pick(times) : pick(odd);
        if (next() < 0.05) delete payload[claim];
        if (next() < 0.05) header[pick(["alg", "typ", "kid", "jku", "crit", "b64"])] = pick(odd);
      }
      let token = sign(header, payload, next() < 0.95 ? KEY : OTHER);
      if (next() < 0.4) token = mutate(token, next);
      const ruled = next() < 0.3;
      const ours = verdict(token, ruled ? RULES : NO_RULES);
      const theirs = await byJose(token, ruled);
      if (ours !== theirs && ours === "unauthorized" && stricterHere(token)) seen.stricter++;
      else expect({ token, verdict: ours }).toEqual({ token, verdict: theirs });
      if (ours === "ok" || ours === "token expired" || ours === "unauthorized") seen[ours]++;
    }
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5);
  });
});

const JUNK = ["", ".", "=", "A", "_", "-", "+", "/", " ", "\n", "\u0000", "é", "e30", "..", "\ud800"];

function mutate(token: string, next: () => number): string {
  const at = Math.floor(next() * (token.length + 1));
  const junk = JUNK[Math.floor(next() * JUNK.length)] ?? "";
  const kind = Math.floor(next() * 5);
  if (kind === 0) return token.slice(0, at) + junk + token.slice(at);
  if (kind === 1) return token.slice(0, at) + junk + token.slice(at + 1);
  if (kind === 2) return token.slice(0, at);
  if (kind === 3) return token.slice(0, -1) + junk + (junk === "" ? "B" : "");
  return token.split(".").toReversed().join(".");
}

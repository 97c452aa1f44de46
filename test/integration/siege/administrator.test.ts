/** Guesses of the admin secret by every endpoint, and attacks on the administrator by a page of another site. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { call } from "../api-client.ts";
import { startChannel } from "../channel-process.ts";
import { eventually } from "../phoenix-client.ts";
import { freePort } from "../redis-process.ts";
import { ADMIN_SECRET, SECRET, startWorld, type World } from "../world.ts";

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `trusted_proxies = ["127.0.0.1"]
[channelstream]
secret = "the-secret-that-signs-calls-of-these-tests"
`,
  });
});
afterAll(() => world.stop());

let last = 0;
/** An address without attempts. */
function fresh(): Record<string, string> {
  return { "x-forwarded-for": `192.0.2.${++last}` };
}

function signInFrom(headers: Record<string, string>, secret = ADMIN_SECRET) {
  return call(world.channel.url, "/admin/sign_in", { secret: null, body: { secret }, headers });
}

function forgedCookie(n: number): string {
  return `channel_session=${String(n).padStart(22, "A")}.zzzzzzzz.${"B".repeat(43)}`;
}

function forgedToken(n: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256" })}.${part({ id: "mallory", channel: "admin", exp: 4_000_000_000 })}`;
  return `${signed}.${createHmac("sha256", `guess ${n}`).update(signed).digest("base64url")}`;
}

type From = Record<string, string>;
const WAYS: readonly (readonly [name: string, attempt: (n: number, from: From) => Promise<unknown>])[] = [
  ["Bearer", (n, headers) => call(world.channel.url, "/api/bans", { secret: `guess ${n}`, headers })],
  [
    "cookie",
    (n, headers) =>
      call(world.channel.url, "/api/bans", {
        secret: null,
        headers: { ...headers, cookie: forgedCookie(n) },
      }),
  ],
  [
    "cookie on an upgrade",
    async (n, headers) => {
      const origin = world.channel.url;
      const client = await world.connect({ headers: { ...headers, origin, cookie: forgedCookie(n) } });
      client.socket.cut();
    },
  ],
  ["sign-in", (n, headers) => signInFrom(headers, `guess ${n}`)],
  [
    "/token",
    (n, headers) =>
      call(world.channel.url, "/token", { secret: `guess ${n}`, body: { channel: "admin" }, headers }),
  ],
  [
    "join with a forged token",
    async (n, headers) => {
      const client = await world.connect({ headers });
      expect((await client.join("admin", { token: forgedToken(n) })).status).toBe("error");
      client.socket.cut();
    },
  ],
  [
    "join of another channel with a forged token",
    async (n, headers) => {
      const client = await world.connect({ headers });
      expect((await client.join("room", { token: forgedToken(n) })).status).toBe("error");
      client.socket.cut();
    },
  ],
  [
    "Channelstream's administration",
    (n, headers) => call(world.channel.url, "/admin/admin.json", { secret: `guess ${n}`, headers }),
  ],
  ["/metrics", (n, headers) => call(world.channel.url, "/metrics", { secret: `guess ${n}`, headers })],
];

describe("guessing", () => {
  test.each(WAYS)(
    "by %s counts: nine attempts change nothing, the tenth limits the address",
    async (_, attempt) => {
      const from = fresh();
      for (let n = 0; n < 9; n++) await attempt(n, from);
      expect((await signInFrom(from)).status).toBe(204);
      await attempt(9, from);
      expect((await signInFrom(from)).status).toBe(429);
      expect((await signInFrom(fresh())).status).toBe(204);
    },
  );

  test("answers 500 forged cookies at once, and verifies only a few of them", async () => {
    const [from, other] = [fresh(), fresh()];
    const cookie = await cookieOf(from);
    const before = wrongOnes();
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        call(world.channel.url, "/api/bans", {
          secret: null,
          headers: { ...from, cookie: forgedCookie(n) },
        }),
      ),
    );
    expect(answers.every(({ status }) => status === 401)).toBe(true);
    // The log is written after the answers.
    await eventually(() => wrongOnes() - before >= 10, "ten lines of wrong proofs");
    // A client that is signed in from the same address, and one from another address, are not limited.
    const asked = { secret: null, headers: { ...from, cookie } };
    for (let n = 0; n < 20; n++) expect((await call(world.channel.url, "/api/bans", asked)).status).toBe(200);
    for (let n = 0; n < 20; n++)
      expect((await call(world.channel.url, "/api/bans", { headers: other })).status).toBe(200);
    expect(wrongOnes() - before).toBeLessThan(20);
  });

  test("verifies one attempt in 2 s over the limit: the right secret is accepted, the next attempt waits", async () => {
    const from = fresh();
    for (let n = 0; n < 10; n++) await signInFrom(from, `guess ${n}`);
    // The pause begins with an attempt that is verified.
    await eventually(
      async () => (await signInFrom(from, "guess")).status === 401,
      "a guess that is verified",
    );
    const refused = await signInFrom(from);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "2"]);
    await eventually(async () => (await signInFrom(from)).status === 204, "one that is looked at");
    expect((await signInFrom(from)).status).toBe(429);
  });

  test("refuses a secret of less than 16 characters at start", async () => {
    for (const secret of ["x", "fifteen-letters"]) {
      const failure = await startChannel({ toml: `admin_secret = "${secret}"\n` }).catch(String);
      expect(failure).toContain("ended with 2");
      expect(failure).toContain("admin_secret must be text of at least 16 characters");
    }
    const short = await startChannel({ toml: `admin_secret = "${"x".repeat(31)}"\n` });
    await short.log.until(({ message }) => message.startsWith("admin_secret is shorter than 32 bytes"));
    await short.stop();
  });
});

describe("a page of another site", () => {
  test("cannot lock the administrator out by images of the sign-in link or other requests", async () => {
    const from = fresh();
    const picture = { ...from, "sec-fetch-site": "cross-site", "sec-fetch-dest": "image" };
    for (let n = 0; n < 30; n++) {
      await call(world.channel.url, "/admin/sign_in?code=x", { secret: null, headers: picture });
      await call(world.channel.url, "/api/bans", {
        secret: null,
        headers: { ...picture, cookie: forgedCookie(n), "sec-fetch-site": "same-site" },
      });
      for (const body of [{ code: "x" }, { secret: "x" }]) {
        const headers = { ...from, origin: "https://evil.example" };
        const { status } = await call(world.channel.url, "/admin/sign_in", { secret: null, body, headers });
        expect(status).toBe(403);
      }
      const token = {
        secret: "x",
        body: { channel: "admin" },
        headers: { ...picture, origin: "http://127.0.0.1:1" },
      };
      await call(world.channel.url, "/token", token);
    }
    for (let n = 0; n < 5; n++) expect((await signInFrom(from)).status).toBe(204);
    // Its own attempts are limited. The pause may have just ended: then one is verified, and the next one is not.
    const again = { headers: { ...picture, origin: "http://127.0.0.1:1" }, body: { channel: "admin" } };
    await eventually(
      async () => (await call(world.channel.url, "/token", again)).status === 429,
      "an attempt that is limited",
    );
  });
});

describe("the sign-in link", () => {
  test("opens a page; its code is accepted once, by POST from that page", async () => {
    const args = ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`];
    const channel = await startChannel({ args, toml: `jwt_secret = "${SECRET}"\n` });
    try {
      const { link } = await channel.log.until(({ message }) => message === "one-time admin link");
      const code = new URL(String(link)).searchParams.get("code");
      const page = await fetch(String(link), { headers: { accept: "text/html" } });
      expect([page.status, page.headers.get("set-cookie")]).toEqual([200, null]);
      const redeem = (headers: Record<string, string>) =>
        call(channel.url, "/admin/sign_in", { secret: null, body: { code }, headers });
      expect((await redeem({})).status).toBe(403);
      const redeemed = await redeem({ origin: channel.url });
      expect(redeemed.status).toBe(204);
      const cookie = redeemed.headers.get("set-cookie")?.split(";")[0] ?? "";
      expect((await call(channel.url, "/api/bans", { secret: null, headers: { cookie } })).status).toBe(200);
      expect((await redeem({ origin: channel.url })).status).toBe(401);
    } finally {
      await channel.stop();
    }
  });
});

async function cookieOf(headers: Record<string, string>): Promise<string> {
  const { headers: answer } = await signInFrom(headers);
  return answer.get("set-cookie")?.split(";")[0] ?? "";
}

function wrongOnes(): number {
  return world.channel.lines.filter(({ message, act }) => message === "audit" && act === "prove").length;
}

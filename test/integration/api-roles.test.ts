/** Sign-in with API keys on the compiled server: each role gets what its key may do, and nothing else. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Answer, call } from "./api-client.ts";
import { connectPhoenix } from "./phoenix-client.ts";
import { ADMIN_SECRET, startWorld, type World } from "./world.ts";

const READER = "the key of a colleague who looks";
const MODERATOR = "the key of a colleague who moderates";
const TOML = `
[[api_keys]]
name = "viewer"
key = "${READER}"
can = ["read"]
[[api_keys]]
name = "support"
key = "${MODERATOR}"
can = ["read", "moderate"]
`;

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", { toml: TOML });
});
afterAll(() => world?.stop());

async function cookieOf(secret: string): Promise<string> {
  const answer = await call(world.channel.url, "/admin/sign_in", { secret: null, body: { secret } });
  expect(answer.status).toBe(204);
  return answer.headers.get("set-cookie")?.split(";")[0] ?? "";
}

function ask(cookie: string, method: "GET" | "POST" | "DELETE", path: string): Promise<Answer> {
  const { url } = world.channel;
  return call(url, path, { secret: null, method, headers: { cookie, origin: url } });
}

/** What a key with `moderate` may change. */
const MODERATION = new Set([
  "POST /api/disconnect",
  "DELETE /api/bans/{id}",
  "POST /api/revocations",
  "POST /api/kick",
  "DELETE /api/connections/{id}",
]);

/** Every operation of the API that changes something, as it describes itself. */
async function changes(): Promise<readonly { readonly method: "POST" | "DELETE"; readonly path: string }[]> {
  const { body } = await call(world.channel.url, "/openapi.json");
  const found: { method: "POST" | "DELETE"; path: string }[] = [];
  for (const path of Object.keys(body.paths)) {
    if (!path.startsWith("/api/")) continue;
    if (body.paths[path].post !== undefined) found.push({ method: "POST", path });
    if (body.paths[path].delete !== undefined) found.push({ method: "DELETE", path });
  }
  return found;
}

/** The status of each change without a body: 403 is decided before anything else is read. */
async function statuses(cookie: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const { method, path } of await changes()) {
    const answer = await ask(cookie, method, path.replace(/\{\w+\}/, "nobody"));
    found.set(`${method} ${path}`, answer.status);
  }
  return found;
}

describe("a reader", () => {
  test("sees the statistics, and is named by the server", async () => {
    const cookie = await cookieOf(READER);
    for (const path of ["/api/stats", "/api/channels", "/api/connections", "/api/servers"])
      expect((await ask(cookie, "GET", path)).status).toBe(200);
    expect((await ask(cookie, "GET", "/admin/session")).body).toEqual({
      ...{ signed_in: true, role: "key", name: "viewer", can: ["read"] },
    });
  });

  test("is refused every change, and the lists for moderators", async () => {
    const cookie = await cookieOf(READER);
    const found = await statuses(cookie);
    expect(found.size).toBeGreaterThan(8);
    for (const [operation, status] of found) expect([operation, status]).toEqual([operation, 403]);
    expect((await ask(cookie, "GET", "/api/bans")).status).toBe(403);
  });

  test("gets no token and no administrator's socket by the session", async () => {
    const cookie = await cookieOf(READER);
    const { url } = world.channel;
    const headers = { cookie, origin: url };
    const token = await call(url, "/token", { secret: null, headers, body: { channel: "admin" } });
    expect([token.status, token.body.code]).toEqual([403, "admin_only"]);
    const client = await connectPhoenix(url, { headers });
    expect((await client.join("admin", {})).status).toBe("error");
    client.socket.cut();
  });
});

test("a moderator may moderate, and nothing more", async () => {
  const found = await statuses(await cookieOf(MODERATOR));
  const permitted = [...found].filter(([, status]) => status !== 403).map(([operation]) => operation);
  expect(permitted.sort()).toEqual([...MODERATION].sort());
});

test("an act by a session names the key in the log, and a refused one too", async () => {
  await ask(await cookieOf(READER), "DELETE", "/api/bans/carol");
  const act = await world.channel.log.until(({ message, act }) => message === "audit" && act === "lift_ban");
  expect(act).toMatchObject({ who: "key:viewer", result: "refused 403" });
});

test("the administrator signs in as before, and a wrong secret does not", async () => {
  const cookie = await cookieOf(ADMIN_SECRET);
  expect((await ask(cookie, "GET", "/api/bans")).status).toBe(200);
  const wrong = await call(world.channel.url, "/admin/sign_in", { secret: null, body: { secret: "guess" } });
  expect([wrong.status, wrong.body.code]).toEqual([401, "wrong_key"]);
});

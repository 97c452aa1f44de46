import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { call } from "./api-client.ts";
import { type Application, allow, deny, HOOK_SECRET, startApplication } from "./application.ts";
import { freePort } from "./redis-process.ts";
import { listenSse, openSse } from "./sse-client.ts";
import { startWorld, type World } from "./world.ts";

/*
 * Event streams without a token on which the application decides.
 */

const COOKIE = "session=the-session-of-alice";

let application: Application;
let world: World;

beforeAll(async () => {
  application = startApplication();
  world = await startWorld("embedded", {
    toml: `hook_secret = "${HOOK_SECRET}"
token_endpoint = "off"
[channels."*"]
authorize = "${application.url}"
authorize_timeout = "4s"
[channels."token:*"]
authorize = "off"
[channels."dead:*"]
authorize = "http://127.0.0.1:${freePort()}/"
`,
  });
});
afterEach(() => {
  application.answer = () => allow();
  application.asked.take();
});
afterAll(async () => {
  await world?.stop();
  await application?.stop();
});

const path = (...channels: readonly string[]): string =>
  `/sse?${channels.map((channel) => `channel=${channel}`).join("&")}`;

async function refusal(url: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(world.channel.url + url, { headers: { cookie: COOKIE } });
  return { status: response.status, body: await response.json() };
}

describe("an event stream without a token", () => {
  test("is opened by the application, for all of its channels, with the cookies of the page", async () => {
    application.answer = ({ headers }) => (headers.get("cookie") === COOKIE ? allow({ id: "anna" }) : deny());
    const names = ["a", "b", "c", "d", "e", "user:anna"];
    const reader = await listenSse(world.channel.port, path(...names), { headers: { cookie: COOKIE } });
    const asked = application.asked.take();
    expect(asked.map(({ channel }) => channel).toSorted()).toEqual(names);
    expect(asked[0]).toMatchObject({ params: {}, address: "127.0.0.1" });
    for (const name of names) {
      await world.backend.publish(`to:${name}:e`, "1");
      expect(await reader.message()).toMatchObject({ channel: name, payload: 1 });
    }
    const { body } = await call(world.channel.url, "/api/connections?protocol=sse");
    expect(body.connections[0]).toMatchObject({ users: ["anna"] });
    // A user that is banned is disconnected, and not let in again.
    await call(world.channel.url, "/api/disconnect", { body: { id: "anna", ban: "1h" } });
    await reader.ended;
    expect(await refusal(path("a"))).toMatchObject({ status: 403, body: { code: "authorization_denied" } });
  });

  test("is refused with the application's reason, and if it names two users", async () => {
    application.answer = () => deny({ reason: "sign in first" });
    expect(await refusal(path("a"))).toEqual({
      status: 403,
      body: { error: "sign in first", code: "authorization_denied" },
    });
    application.answer = ({ channel }) => allow({ id: channel });
    expect(await refusal(path("a", "b"))).toMatchObject({ status: 403 });
    application.answer = () => allow({ id: "alice", can: ["push"] });
    expect(await refusal(path("a"))).toEqual({
      status: 403,
      body: { error: 'The application does not allow the channel "a".', code: "authorization_denied" },
    });
    for (const channel of ["admin", "system", "token:1"])
      expect(await refusal(path("a", channel))).toMatchObject({
        status: 401,
        body: { code: "token_missing" },
      });
    application.answer = () => allow({ id: "alice" });
    expect(await refusal(path("user:bob"))).toMatchObject({ status: 403 });
  });

  test("ends, so that EventSource tries again, where the application gives no answer", async () => {
    for (const channel of ["dead:1", "a"]) {
      application.answer = () => new Response("<html>");
      const reader = openSse(world.channel.port, path(channel));
      expect(await reader.status).toBe(200);
      const { event, data } = await reader.events.next();
      expect(event).toBe("closed");
      expect(JSON.parse(data)).toMatchObject({ code: "authorization_unavailable" });
      await reader.ended;
      expect(reader.retry()).toBeGreaterThan(0);
    }
  });

  test("ends after expires_in", async () => {
    application.answer = ({ channel }) => allow({ id: "alice", expires_in: channel === "a" ? 0.5 : 60 });
    const reader = await listenSse(world.channel.port, path("a", "b"));
    const last = await reader.events.until(({ event }) => event === "closed");
    expect(JSON.parse(last.data)).toEqual({ reason: "token expired" });
  });

  test("gets no cookie of another site's page", async () => {
    for (const headers of [{ "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site" }]) {
      const reader = await listenSse(world.channel.port, path("a"), {
        headers: { cookie: COOKIE, ...headers },
      });
      expect((await application.asked.next()).headers.has("cookie")).toBe(false);
      reader.cut();
    }
  });

  test("a token decides alone on its channels, and names the user for the others", async () => {
    const token = world.token("token:1", { id: "bob" });
    const reader = await listenSse(world.channel.port, `${path("token:1", "a")}&token=${token}`);
    expect(application.asked.take()).toMatchObject([{ channel: "a", user: "bob" }]);
    reader.cut();
  });
});

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { call } from "./api-client.ts";
import { type Application, allow, HOOK_SECRET, startApplication } from "./application.ts";
import { listenSse } from "./sse-client.ts";
import { startWorld, type World } from "./world.ts";

/*
 * The application decides, and anyone can get a token for any id: such a token names no user.
 */

let application: Application;
let world: World;
/** With the default `token_channels`: any. */
let open: World;
beforeAll(async () => {
  application = startApplication();
  open = await startWorld("embedded", {
    toml: `hook_secret = "${HOOK_SECRET}"\n[channels."room:*"]\nauthorize = "${application.url}"\n`,
  });
  world = await startWorld("embedded", {
    toml: `hook_secret = "${HOOK_SECRET}"
token_channels = ["public"]
[channels."room:*"]
authorize = "${application.url}"
`,
  });
});
afterEach(() => {
  application.answer = () => allow();
  application.asked.take();
  world.cutClients();
});
afterAll(async () => {
  await world?.stop();
  await open?.stop();
  await application?.stop();
});

async function anybodysToken(): Promise<string> {
  const body = JSON.stringify({ channel: "public", id: "admin" });
  const answer = await fetch(`${world.channel.url}/token`, { method: "POST", body });
  return String(Object(await answer.json()).token);
}

test("the application does not get the user of such a token, and the member does not get its name", async () => {
  const client = await world.connect({ params: { token: await anybodysToken() } });
  expect((await client.join("public")).status).toBe("ok");
  expect((await client.join("room:1")).status).toBe("ok");
  expect(await application.asked.next()).not.toHaveProperty("user");
  const members = Object.keys(Object((await client.event("presence_state", "room:1")).payload));
  expect(members).toHaveLength(1);
  expect(members).not.toContain("admin");
  // What the application allowed is kept: it does not end with the token.
  expect((await client.join("room:1")).status).toBe("ok");
  expect(application.asked.take()).toEqual([]);
});

test("nobody gets past the application: the open endpoint gives no token for its channels, event streams ask", async () => {
  for (const body of [{ channel: "room:1" }, { channels: ["public", "room:1"] }, { channel: "room:*" }]) {
    const answer = await fetch(`${open.channel.url}/token`, { method: "POST", body: JSON.stringify(body) });
    expect([401, 403]).toContain(answer.status);
  }
  application.answer = () => Response.json({ allow: false });
  const stream = await fetch(`${open.channel.url}/sse?channel=room:1`);
  expect(stream.status).toBe(403);
  expect((await application.asked.next()).channel).toBe("room:1");
  // Other channels are as open as before.
  const other = { method: "POST", body: JSON.stringify({ channel: "lobby" }) };
  expect((await fetch(`${open.channel.url}/token`, other)).status).toBe(200);
});

test("the application may name that user", async () => {
  application.answer = () => allow({ id: "admin" });
  const client = await world.connect();
  expect((await client.join("room:1", { token: await anybodysToken() })).status).toBe("ok");
  expect(await client.event("presence_state", "room:1")).toMatchObject({ payload: { admin: {} } });
});

test("event streams do not name it either", async () => {
  const path = `/sse?channel=public&channel=room:1&token=${await anybodysToken()}`;
  const reader = await listenSse(world.channel.port, path);
  const asked = await application.asked.next();
  expect(asked.channel).toBe("room:1");
  expect(asked).not.toHaveProperty("user");
  await world.backend.publish("to:room:1:e", "1");
  expect(await reader.message()).toMatchObject({ channel: "room:1", payload: 1 });
  reader.cut();
  application.answer = () => allow({ id: "alice" });
  const named = await listenSse(world.channel.port, path);
  const { body } = await call(world.channel.url, "/api/connections?protocol=sse&search=alice");
  expect(body.connections).toHaveLength(1);
  named.cut();
});

import { afterAll, beforeAll, expect, test } from "bun:test";
import { openPage } from "../chromium.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage('[channelstream]\nsecret = "a secret of the explorer"\n');
}, 30_000);
afterAll(() => stage?.stop());

test("requires a signed-in administrator", async () => {
  const opened = await openPage(stage.browser);
  await opened.page.goto(`${stage.world.channel.url}/api-explorer`);
  await opened.page.waitForSelector("#sign-in-section:not([hidden])");
  expect(await opened.page.locator(".opblock").count()).toBe(0);
  expect(opened.console.all).toEqual([]);
  await opened.close();
});

test("lists every operation, calls one with the session, and loads nothing from other hosts", async () => {
  const opened = await stage.admin();
  const { page } = opened;
  const client = await stage.world.connect();
  await client.join("system", { token: stage.world.token("system") });
  await opened.watched(async () => {
    await page.goto(`${stage.world.channel.url}/api-explorer`);
    await page.waitForSelector(".opblock");
    expect(await page.locator(".opblock").count()).toBeGreaterThan(25);
    const publish = page.locator(".opblock-post", { hasText: "/api/publish" }).first();
    await publish.click();
    await publish.locator("button.execute").click();
    expect((await client.event("update")).payload).toEqual({ hello: "from the API" });
    await publish.locator(".live-responses-table .response", { hasText: "200" }).first().waitFor();
    // A request to another host fails and violates the policy: both would be logged.
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
}, 30_000);

test("signs Channelstream's calls", async () => {
  const opened = await stage.admin();
  const { page } = opened;
  await opened.watched(async () => {
    await page.goto(`${stage.world.channel.url}/api-explorer`);
    const connect = page.locator(".opblock-post", { hasText: "/connect" }).first();
    await connect.click();
    const called = page.waitForResponse((response) => response.url().endsWith("/connect"));
    await connect.locator("button.execute").click();
    const response = await called;
    expect(response.status()).toBe(200);
    expect(response.request().headers()["x-channelstream-secret"]).toMatch(/^explorer\.[\w-]+\.[\w-]{27}$/);
    expect(await response.json()).toMatchObject({ username: "alice", channels: ["pub_chan"] });
  });
  await opened.close();
}, 30_000);

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { OpenPage } from "../chromium.ts";
import { NASTY, type Stage, startStage } from "./stage.ts";

/*
 * Channel names, user ids, event names and payloads are shown as text: they create no elements and run no scripts.
 */

let stage: Stage;
beforeAll(async () => {
  stage = await startStage();
}, 30_000);
afterAll(() => stage?.stop());

/** Valid as channel and event name: at most 255 bytes, no colon. */
const NAME = "<img src=x onerror=\"document.title='taken'\">";

async function expectNoMarkup(opened: OpenPage, title: string): Promise<void> {
  expect(await opened.page.locator("main img, main script, dialog img").count()).toBe(0);
  expect(await opened.page.title()).toBe(title);
  expect(opened.console.all.filter((line) => !line.includes("Failed to load resource"))).toEqual([]);
}

test("on the test client", async () => {
  const opened = await stage.client(`?name=${encodeURIComponent(NASTY)}`);
  const { page } = opened;
  await opened.watched(async () => {
    await page.fill("#join-name", NAME);
    await page.press("#join-name", "Enter");
    await page.locator(".joined .state", { hasText: "joined" }).nth(1).waitFor();
    expect(await page.locator(".joined .name").nth(1).textContent()).toBe(NAME);
    await page.locator("#users li", { hasText: NASTY }).first().waitFor();
    await stage.world.backend.publish(`to:${NAME}:${NAME}`, JSON.stringify({ [NASTY]: NASTY }));
    await stage.world.backend.publish(`to:${NAME}:raw`, NASTY);
    await page.waitForSelector("#stream-list .message:nth-child(2)");
    await page.locator(".message").nth(1).click();
    expect(await page.textContent("#stream-detail .key")).toBe(NASTY);
    await page.locator(".message").first().click();
    expect(await page.textContent("#stream-detail .hex")).toContain("<img src=x");
    for (const language of ["curl", "Python", "JavaScript"]) {
      await page.click(`#languages button:has-text('${language}')`);
    }
    await expectNoMarkup(opened, "Channel: test client");
  });
  await opened.close();
});

test("on the administration page", async () => {
  const { world } = stage;
  const client = await world.connect();
  await client.join(NAME, { token: world.token(NAME, { id: NASTY }) });
  const opened = await stage.admin("#/channels");
  const { page } = opened;
  await opened.watched(async () => {
    await page.fill("#channels-search", "onerror");
    await page.locator("#channels tbody a", { hasText: NAME }).click();
    await page.waitForSelector('#inspect-state[data-state="good"]');
    expect(await page.textContent("#channel-name")).toBe(NAME);
    await client.ask({ topic: NAME, joinRef: "1", event: NAME, payload: JSON.stringify({ a: NASTY }) });
    await page.locator("#inspect-list .message").first().click();
    expect(await page.textContent("#inspect-detail")).toContain(NASTY.slice(0, 20));
    await page.locator("#members .buttons button").first().click();
    expect(await page.textContent("dialog h2")).toContain(NAME);
    await page.click("dialog button:has-text('Cancel')");
    await page.locator("#members .buttons button").nth(1).click();
    expect(await page.textContent("dialog h2")).toContain(NASTY);
    await page.click("dialog button.danger");
    await page.waitForSelector(`#notice:has-text("rejected")`);
    await page.goto(`${world.channel.url}/admin.html#/tools`);
    await page.waitForSelector("#bans code");
    expect(await page.textContent("#bans code")).toBe(NASTY);
    await page.goto(`${world.channel.url}/admin.html#/connections`);
    await page.goto(`${world.channel.url}/admin.html#/channels/%3Cimg%20src=x%20onerror=alert(1)%3E`);
    await page.waitForSelector("#channel-facts dt");
    await expectNoMarkup(opened, "Channel: administration");
  });
  await opened.close();
  world.cutClients();
});

/** The administration page for API keys: it shows what the role permits. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type OpenPage, openPage } from "../chromium.ts";
import { type Stage, signIn, startStage } from "./stage.ts";

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

let stage: Stage;
beforeAll(async () => {
  stage = await startStage(TOML);
  const client = await stage.world.connect();
  await client.join("room:1", { token: stage.world.token("room:1") });
}, 90_000);
afterAll(() => stage?.stop());

async function as(secret: string | undefined, hash: string): Promise<OpenPage> {
  const opened = await openPage(stage.browser);
  await opened.page.goto(`${stage.world.channel.url}/admin.html${hash}`);
  await opened.watched(() => signIn(opened.page, secret));
  return opened;
}

test("a reader sees a channel and its members, and no action, after a reload too", async () => {
  const opened = await as(READER, "#/channels/room%3A1");
  const { page } = opened;
  await opened.watched(async () => {
    for (const turn of ["signed in", "reloaded"]) {
      await page.locator("#members tbody td", { hasText: "alice" }).waitFor();
      expect([turn, await page.textContent("#role")]).toEqual([turn, "viewer, reader"]);
      expect(await page.getByLabel("Kick alice").isHidden()).toBe(true);
      expect(await page.locator("#channel-publish").isHidden()).toBe(true);
      expect(await page.locator('nav a[data-page="tools"]').isHidden()).toBe(true);
      await page.reload();
    }
    // The address of a page that the role does not have shows the overview.
    await page.evaluate('location.hash = "#/tools"');
    await page.waitForSelector("#page-overview:not([hidden])");
    await page.click("#sign-out");
    await page.waitForSelector("#sign-in-section:not([hidden])");
    expect(await page.textContent("#role")).toBe("");
  });
  await opened.close();
}, 90_000);

test("a moderator sees the actions of a moderator only", async () => {
  const opened = await as(MODERATOR, "#/tools");
  const { page } = opened;
  await opened.watched(async () => {
    await page.waitForSelector("#kick");
    await page.locator("#bans", { hasText: "No active bans." }).waitFor();
    for (const [form, shown] of [
      ["kick", true],
      ["disconnect", true],
      ["publish", false],
      ["token", false],
    ] as const)
      expect([form, await page.locator(`#${form}`).isVisible()]).toEqual([form, shown]);
    expect(await page.textContent("#role")).toBe("support, moderator");
  });
  await opened.close();
}, 90_000);

test("the administrator sees every action", async () => {
  const opened = await as(undefined, "#/tools");
  const { page } = opened;
  await opened.watched(async () => {
    for (const form of ["kick", "disconnect", "publish", "token"])
      await page.locator(`#${form}`).waitFor({ state: "visible" });
    expect(await page.textContent("#role")).toBe("administrator");
  });
  await opened.close();
}, 90_000);

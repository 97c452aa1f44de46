import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { startWorld, type World } from "../../integration/world.ts";
import { launchChromium, openPage } from "../chromium.ts";

/* What the test client shows while Redis is away. */

let world: World;
let browser: Browser;
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld("redis"), launchChromium()]);
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await world?.stop();
});

test("the header says that Redis is away, and no longer when it is back", async () => {
  const opened = await openPage(browser);
  const { page } = opened;
  await page.goto(`${world.channel.url}/?name=alice`);
  await opened.watched(async () => {
    await page.waitForSelector('.joined .state[data-state="good"]');
    expect(await page.textContent("#bus")).toBe("");
    await world.redis?.down();
    await page.getByText("Redis is away: messages do not arrive, pushes are refused").waitFor();
    await page.click("#send");
    await page.waitForSelector('#reply[data-state="bad"]');
    await world.redis?.restart();
    await page.waitForSelector("#bus:empty", { state: "attached" });
    await page.click("#send");
    await page.waitForSelector('#reply[data-state="good"]');
  });
  await opened.close();
}, 60_000);

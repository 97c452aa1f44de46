/** States on the administration page that are not known any more are not shown as good. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import { startWorld, type World } from "../../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "../chromium.ts";
import { signIn } from "./stage.ts";

let browser: Browser;
let world: World;
beforeAll(async () => {
  [browser, world] = await Promise.all([launchChromium(), startWorld("redis")]);
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await world?.stop();
});

async function openAdmin(hash: string): Promise<OpenPage> {
  const opened = await openPage(browser);
  await opened.page.goto(`${world.channel.url}/admin.html${hash}`);
  await opened.watched(() => signIn(opened.page));
  return opened;
}

/** How many visible elements have the color that means good. */
function countGood(page: Page): Promise<number> {
  return page.evaluate(() => {
    const isGreen = (color: string): boolean => {
      const [red = 0, green = 0, blue = 0] = (color.match(/[\d.]+/g) ?? []).map(Number);
      return green > red + 40 && green > blue + 15;
    };
    const shown = [...document.querySelectorAll<HTMLElement>("[data-state], .value, .strip > span")];
    const gray = (each: HTMLElement): boolean => {
      const tiles = each.closest(".tiles, .servers");
      return tiles !== null && getComputedStyle(tiles).filter.includes("grayscale");
    };
    return shown.filter((each) => {
      if (each.offsetParent === null || gray(each)) return false;
      return [
        getComputedStyle(each).color,
        getComputedStyle(each).backgroundColor,
        getComputedStyle(each, "::before").backgroundColor,
      ].some(isGreen);
    }).length;
  });
}

test("of a server that hangs nothing stays green; when it answers again, all is as before", async () => {
  const opened = await openAdmin("#/overview");
  const { page } = opened;
  await opened.watched(async () => {
    await page.waitForSelector('#servers tr[data-state="up"]');
    expect(await countGood(page)).toBeGreaterThan(2);
    world.channel.kill("SIGSTOP");
    try {
      await page.waitForSelector("#content[data-stale]");
      expect(await countGood(page)).toBe(0);
      expect(await page.textContent("#stale")).toMatch(
        /No response from the server\. Figures are from \d\d:\d\d:\d\d/,
      );
      expect(await page.locator(".tile .value").first().textContent()).toBe("unknown");
      expect(await page.getAttribute("#servers tr", "data-state")).toBe("unknown");
    } finally {
      world.channel.kill("SIGCONT");
    }
    await page.waitForSelector("#content:not([data-stale])");
    await page.waitForSelector('#servers tr[data-state="up"]');
    expect(await page.isHidden("#stale")).toBe(true);
    expect(await countGood(page)).toBeGreaterThan(2);
  });
  await opened.close();
}, 60_000);

test("a channel's live view of a server that hangs does not say connected", async () => {
  const opened = await openAdmin("#/channels/room%3A1");
  const { page } = opened;
  await opened.watched(async () => {
    await page.waitForSelector('#inspect-state[data-state="good"]');
    world.channel.kill("SIGSTOP");
    try {
      await page.waitForSelector('#inspect-state:not([data-state="good"])');
      await page.waitForSelector("#content[data-stale]");
      expect(await countGood(page)).toBe(0);
    } finally {
      world.channel.kill("SIGCONT");
    }
    await page.waitForSelector('#inspect-state[data-state="good"]');
  });
  await opened.close();
}, 60_000);

test("the network of the browser goes: grey before any request fails", async () => {
  const opened = await openAdmin("#/overview");
  const { page } = opened;
  await opened.watched(async () => {
    await page.context().setOffline(true);
    await page.waitForSelector("#content[data-stale]");
    expect(await countGood(page)).toBe(0);
    await page.context().setOffline(false);
    await page.waitForSelector("#content:not([data-stale])");
  });
  await opened.close();
}, 60_000);

test("without Redis the bus is down, and nothing says that it is up", async () => {
  const opened = await openAdmin("#/overview");
  const { page } = opened;
  await opened.watched(async () => {
    await world.redis?.stop();
    await page.waitForSelector('#state[data-state="bad"]:has-text("Bus down")');
    await page.waitForSelector('.tile[data-state="bad"] .value:has-text("down")');
    expect(await page.isHidden("#stale")).toBe(true);
  });
  await opened.close();
}, 60_000);

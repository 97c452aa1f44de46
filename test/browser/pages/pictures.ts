/**
 * The pictures of README and docs, from three servers with lively data: `npm run pictures`. Writes docs/pictures.
 *   --seconds=300   traffic before the first picture, which fills the charts
 *   --only=NAME     pictures whose name contains it
 *   --out=FOLDER
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Page } from "playwright-core";
import { launchChromium, openPage } from "../chromium.ts";
import { startLivelyFleet } from "./lively-fleet.ts";
import { signIn } from "./stage.ts";

const SIZE = { width: 1280, height: 800 };
/** Pixels of the picture for one of the page. */
const SCALE = 1.5;
const QUALITY = 82;
const MAX_BYTES = 150_000;

const { seconds, only, out } = parseArgs({
  options: {
    seconds: { type: "string", default: "300" },
    only: { type: "string", default: "" },
    out: { type: "string", default: join(import.meta.dir, "../../../docs/pictures") },
  },
}).values;

const PICTURES: Readonly<Record<string, (page: Page, url: string) => Promise<void>>> = {
  client: async (page, url) => {
    await page.goto(`${url}/?name=alice`);
    await page.waitForSelector('.joined .state[data-state="good"]');
    for (const name of ["flights:EDDB", "room:lobby"]) {
      await page.fill("#join-name", name);
      await page.press("#join-name", "Enter");
      await page.locator(".joined li", { hasText: name }).locator('.state[data-state="good"]').waitFor();
    }
    await page.selectOption("#target", "room:lobby");
    await page.fill("#event", "message");
    await page.fill("#payload", '{"by": "alice", "text": "Good morning!"}');
    await page.click("#send");
    await page.waitForSelector('#reply[data-state="good"]');
    await page.locator(".message", { hasText: "position" }).nth(9).waitFor();
    await page.click("#stream-pause");
    await page.locator(".message", { hasText: "position" }).first().click();
  },
  administration: async (page, url) => {
    await page.goto(`${url}/admin.html`);
    await signIn(page);
    await page.locator("#servers tr:nth-child(3)").waitFor();
  },
  channel: async (page, url) => {
    await page.goto(`${url}/admin.html#/channels/${encodeURIComponent("flights:EDDB")}`);
    await signIn(page);
    await page.waitForSelector("#inspect-list .message:nth-child(9)");
    await page.click("#inspect-pause");
    await page.locator("#inspect-list .message").nth(2).click();
  },
};

mkdirSync(out, { recursive: true });
const [fleet, browser] = await Promise.all([startLivelyFleet(), launchChromium()]);
let wrong = false;
try {
  const url = fleet.world.servers[0]?.url ?? "";
  console.log(`${url}: three servers, ${seconds} s of traffic`);
  await Bun.sleep(Number(seconds) * 1000);
  for (const [name, prepare] of Object.entries(PICTURES)) {
    if (name.includes(only)) await take(name, prepare, url);
  }
} finally {
  await browser.close();
  await fleet.stop();
}
process.exit(wrong ? 1 : 0);

async function take(
  name: string,
  prepare: (page: Page, url: string) => Promise<void>,
  url: string,
): Promise<void> {
  const opened = await openPage(browser);
  const { page } = opened;
  await page.setViewportSize(SIZE);
  await prepare(page, url);
  await page.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)");
  const devtools = await page.context().newCDPSession(page);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    // Charts have no event for "drawn".
    await page.waitForTimeout(2500);
    const { data } = await devtools.send("Page.captureScreenshot", {
      format: "webp",
      quality: QUALITY,
      clip: { x: 0, y: 0, ...SIZE, scale: SCALE },
    });
    const bytes = Buffer.from(data, "base64");
    writeFileSync(join(out, `${name}-${colorScheme}.webp`), bytes);
    const large = bytes.length > MAX_BYTES;
    console.log(
      `${name}-${colorScheme}.webp ${(bytes.length / 1000).toFixed(0)} kB${large ? ": too large" : ""}`,
    );
    wrong ||= large;
  }
  for (const line of opened.console.all) console.log(`${name}: ${line}`);
  await opened.close();
}

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { Signer } from "../../../src/fleet/signer.ts";
import type { ChannelProcess } from "../../integration/channel-process.ts";
import {
  FLEET_SECRET,
  type FleetWorld,
  startFleet,
  untilServers,
} from "../../integration/fleet/fleet-world.ts";
import { ADMIN_SECRET } from "../../integration/world.ts";
import { launchChromium, openPage } from "../chromium.ts";

const AXE = readFileSync(join(import.meta.dir, "../../../node_modules/axe-core/axe.min.js"), "utf8");

let world: FleetWorld;
let browser: Browser;
let a: ChannelProcess;
let b: ChannelProcess;
let c: ChannelProcess;
beforeAll(async () => {
  [world, browser] = await Promise.all([startFleet(["eu-1", "eu-2", "eu-3"]), launchChromium()]);
  const [one, two, three] = world.servers;
  if (one === undefined || two === undefined || three === undefined) throw new Error("three servers");
  [a, b, c] = [one, two, three];
  for (const [i, server] of [a, a, b, b, b, c].entries()) await world.join(server, "room:1", `user${i}`);
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await world?.stop();
});

/** Reports as a server of another version does, until it is stopped. */
async function pretendServer(name: string, version: string): Promise<() => void> {
  const signer = new Signer([FLEET_SECRET], "");
  const incarnation = "other1";
  await world.backend.redis.set(`hub:node:${incarnation}`, "1", "EX", 60);
  let seq = 0;
  const report = async (): Promise<void> => {
    const body = JSON.stringify({ incarnation, name, version, seq: ++seq });
    await world.backend.publish("hub:node", signer.sign("hub:node", body));
  };
  await report();
  const timer = setInterval(() => void report(), 1000);
  return () => clearInterval(timer);
}

async function admin(fragment = ""): Promise<Page> {
  const { page } = await openPage(browser);
  await page.goto(`${a.url}/admin.html${fragment}`);
  await page.fill("#secret", ADMIN_SECRET);
  await page.press("#secret", "Enter");
  await page.waitForSelector("#content:not([hidden])");
  return page;
}

/** A picture of the page, in the folder of `CHANNEL_SCREENSHOTS`. */
async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.CHANNEL_SCREENSHOTS;
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

test("the overview lists the servers and sums them; one that is lost is named", async () => {
  const page = await admin();
  await page.locator("#servers tr:nth-child(3)").waitFor();
  expect(await page.locator("#servers th").allTextContents()).toEqual(["eu-1 this server", "eu-2", "eu-3"]);
  await page.locator(".tile", { hasText: "Connections" }).locator(".value", { hasText: "6" }).waitFor();
  // A server whose report is late is named there.
  await page.locator("#servers-warning").waitFor({ state: "hidden" });
  await Bun.sleep(5_000);
  await picture(page, "fleet-up");
  c.kill("SIGKILL");
  await untilServers(a, (rows) => rows.some(({ state }) => state === "dead"));
  await page.locator("#servers-warning", { hasText: "Not reporting: eu-3." }).waitFor();
  await page.locator(".tile", { hasText: "Connections" }).locator(".value", { hasText: "5" }).waitFor();
  await page.evaluate(AXE);
  const violations = await page.evaluate<readonly { readonly id: string }[]>(
    "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations)",
  );
  expect(violations.map(({ id }) => id)).toEqual([]);
  await picture(page, "fleet-one-down");
  await page.setViewportSize({ width: 360, height: 740 });
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
}, 60_000);

test("a warning when servers run different versions", async () => {
  const stop = await pretendServer("eu-4", "9.9.9");
  try {
    const page = await admin();
    const warning = page.locator("#servers-warning", { hasText: "Servers run different versions:" });
    await warning.waitFor();
    expect(await warning.textContent()).toContain("9.9.9");
    await picture(page, "fleet-versions");
  } finally {
    stop();
  }
}, 30_000);

test("connections and members name their server; the list is narrowed to one", async () => {
  const page = await admin("#/connections");
  await page.locator("#connections tbody tr", { hasText: "eu-2" }).first().waitFor();
  await page.selectOption("#connections-server", "eu-2");
  await page.locator("#connections-total", { hasText: "3" }).waitFor();
  await picture(page, "fleet-connections");
  await page.goto(`${a.url}/admin.html#/channels/room%3A1`);
  await page.locator("#members tbody tr", { hasText: "eu-2" }).first().waitFor();
  await picture(page, "fleet-channel");
}, 30_000);

test("an action says what each server did, and which did not answer", async () => {
  b.kill("SIGSTOP");
  try {
    const page = await admin("#/tools");
    await page.fill("#disconnect-user", "user0");
    await page.fill("#disconnect-ban", "10m");
    await page.press("#disconnect-ban", "Enter");
    await page.locator("dialog[open] button", { hasText: "Ban" }).click();
    await page.locator("#notice", { hasText: "eu-1: 1, eu-2: no answer" }).waitFor();
    await picture(page, "fleet-action");
  } finally {
    b.kill("SIGCONT");
  }
}, 30_000);

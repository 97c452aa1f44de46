import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { findPython } from "../integration/python.ts";
import { type Program, startProgram } from "../integration/tangram/program.ts";
import { ADMIN_SECRET, startWorld, type World } from "../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/* examples/chat: a chat that recovers, and prices over server-sent events. */

const EXAMPLE = join(import.meta.dir, "../../examples/chat");

const AS_ADMIN = { authorization: `Bearer ${ADMIN_SECRET}` };

let world: World;
let browser: Browser;
let backend: Program;
const opened: OpenPage[] = [];

beforeAll(async () => {
  // The file's folder is the one of its relative path.
  const toml = readFileSync(join(EXAMPLE, "channel.toml"), "utf8").replace('"."', JSON.stringify(EXAMPLE));
  world = await startWorld("redis", { toml });
  backend = startProgram([findPython("redis"), join(EXAMPLE, "backend.py")], {
    env: { REDIS_URL: world.redis?.url ?? "" },
  });
  await backend.lines.until((line) => line.startsWith("serving"), "the backend's start", 20_000);
  browser = await launchChromium();
}, 60_000);

afterAll(async () => {
  for (const each of opened) await each.close();
  await browser?.close();
  await backend?.stop();
  await world?.stop();
});

async function open(path: string): Promise<Page> {
  const each = await openPage(browser);
  opened.push(each);
  await each.page.goto(`${world.channel.url}/${path}`);
  return each.page;
}

async function say(page: Page, text: string): Promise<void> {
  await page.fill("#text", text);
  await page.click("#say button");
}

/** The lines that a page shows, without their times. */
async function linesOf(page: Page): Promise<string[]> {
  const texts = await page.locator("#lines li").allInnerTexts();
  return texts.map((text) => text.split(" ").at(-1) ?? "");
}

async function waitForLine(page: Page, text: string): Promise<void> {
  await page.locator("#lines li", { hasText: text }).waitFor();
}

test("a page that was disconnected shows each line once, and a new page the last lines", async () => {
  const [ann, bob] = await Promise.all([open("index.html"), open("index.html")]);
  for (const page of [ann, bob]) await page.getByText("connected", { exact: true }).waitFor();
  for (const page of [ann, bob]) await page.getByText("2 online").waitFor();
  // Shown for a moment only.
  await bob.evaluate(`globalThis.shown = new Promise((resolve) => {
    const line = document.getElementById("typing");
    new MutationObserver(() => resolve(line.textContent)).observe(line, { childList: true });
  }); 0`);
  await ann.fill("#text", "one");
  expect(await bob.evaluate("shown")).toStartWith("Somebody is typing");
  await say(ann, "one");
  await waitForLine(bob, "one");
  // Both connections are ended, and bob's page can open no other one for a moment.
  await bob.context().setOffline(true);
  const answer = await fetch(`${world.channel.url}/api/connections`, { headers: AS_ADMIN });
  const { connections } = await answer.json();
  for (const { id } of connections) {
    await fetch(`${world.channel.url}/api/connections/${id}`, { method: "DELETE", headers: AS_ADMIN });
  }
  await ann.getByText("connected again, nothing missed").waitFor();
  await say(ann, "two");
  await waitForLine(ann, "two");
  await bob.context().setOffline(false);
  await waitForLine(bob, "two");
  await bob.getByText("connected again, nothing missed").waitFor();
  expect(await linesOf(bob)).toEqual(["one", "two"]);
  expect(await linesOf(ann)).toEqual(["one", "two"]);
  const late = await open("index.html");
  await waitForLine(late, "two");
  expect(await linesOf(late)).toEqual(["one", "two"]);
}, 60_000);

test("a page of prices gets each price at once, and new ones", async () => {
  // Shares that the example's backend does not publish: it replaces its own at any time.
  await world.backend.publish("to:prices:TIN", "30.5");
  await world.backend.publish("to:prices:ZINC", "28");
  const page = await open("prices.html");
  await page.locator("#prices tr", { hasText: "TIN30.50" }).waitFor();
  await page.locator("#prices tr", { hasText: "ZINC28.00" }).waitFor();
  await world.backend.publish("to:prices:TIN", "1234.5");
  await page.locator("#prices tr .up", { hasText: "1234.50" }).waitFor();
}, 60_000);

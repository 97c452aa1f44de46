import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { type FleetWorld, startFleet, TOML } from "../integration/fleet/fleet-world.ts";
import { mint } from "../integration/phoenix-client.ts";
import { SECRET } from "../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/* examples/cursors: client events between pages of two servers. */

const EXAMPLE = join(import.meta.dir, "../../examples/cursors");

let fleet: FleetWorld;
let browser: Browser;
const opened: OpenPage[] = [];

beforeAll(async () => {
  // The file's folder is the one of its relative path.
  const toml = readFileSync(join(EXAMPLE, "channel.toml"), "utf8").replace('"."', JSON.stringify(EXAMPLE));
  fleet = await startFleet(["one", "two"], { toml: TOML + toml });
  browser = await launchChromium();
}, 60_000);

afterAll(async () => {
  for (const each of opened) await each.close();
  await browser?.close();
  await fleet?.stop();
});

/** The page of a user, on the first or the second server. */
async function open(user: string, server: 0 | 1, token?: string): Promise<Page> {
  const each = await openPage(browser);
  opened.push(each);
  if (token !== undefined) {
    await each.page.route("**/token", (route) => route.fulfill({ json: { token } }));
  }
  await each.page.goto(`${fleet.servers[server]?.url}/index.html?name=${user}`);
  return each.page;
}

/** Moves the pointer of a page to a place on its board, in parts of its size. */
async function point(page: Page, x: number, y: number, steps = 1): Promise<void> {
  const box = await page.locator("#board").boundingBox();
  if (box === null) throw new Error("the page has no board");
  await page.mouse.move(box.x + x * box.width, box.y + y * box.height, { steps });
}

/** Waits until a page shows the cursor of a user there. */
async function waitForCursor(page: Page, user: string, x: number, y: number): Promise<void> {
  await page.waitForFunction(
    ([name, left, top]) => {
      const cursor = document.querySelector<HTMLElement>(`.cursor[data-user="${name}"]`);
      const isNear = (text: string, part: number) => Math.abs(Number.parseFloat(text) - part * 100) < 1;
      return cursor !== null && isNear(cursor.style.left, left) && isNear(cursor.style.top, top);
    },
    [user, x, y] as const,
  );
}

test("two pages on two servers show each other's cursor, and not their own", async () => {
  const [ann, bob] = [await open("ann", 0), await open("bob", 1)];
  for (const page of [ann, bob]) await page.locator("#members", { hasText: "ann, bob" }).waitFor();
  expect(await ann.textContent("#state")).toBe("connected as ann");
  await point(ann, 0.25, 0.5);
  await waitForCursor(bob, "ann", 0.25, 0.5);
  await point(bob, 0.75, 0.25);
  await waitForCursor(ann, "bob", 0.75, 0.25);
  // The last of many positions arrives, though not each is sent.
  await point(ann, 0.9, 0.9, 60);
  await waitForCursor(bob, "ann", 0.9, 0.9);
  for (const [page, other] of [
    [ann, "bob"],
    [bob, "ann"],
  ] as const) {
    expect(await page.locator(".cursor").allTextContents()).toEqual([other]);
  }
  await ann.mouse.move(1, 1);
  await bob.locator(".cursor").waitFor({ state: "detached" });
  await bob.close();
  await ann.locator(".cursor").waitFor({ state: "detached" });
  await ann.locator("#members", { hasText: /^ann$/ }).waitFor();
  await ann.close();
}, 60_000);

test("a page whose token may not push says that others do not see its cursor", async () => {
  const token = mint({ id: "reader", channel: "board:demo", can: ["join", "presence"] }, SECRET);
  const reader = await open("reader", 0, token);
  await reader.getByText("others do not see this page's cursor").waitFor();
  const ann = await open("ann", 0);
  await ann.getByText("connected as ann").waitFor();
  await point(ann, 0.5, 0.5);
  await waitForCursor(reader, "ann", 0.5, 0.5);
}, 60_000);

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { startWorld, type World } from "../integration/world.ts";
import { launchChromium, openPage } from "./chromium.ts";

/* The page that docs/first-minute.md shows, on a web server of its own and as a file. */

const ROOT = join(import.meta.dir, "../..");

let world: World;
let browser: Browser;
let folder: string;

beforeAll(async () => {
  world = await startWorld("redis");
  browser = await launchChromium();
  folder = mkdtempSync(join(tmpdir(), "channel-own-page-"));
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function pageOf(document: string): string {
  const [, html = ""] = /```html\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, document), "utf8")) ?? [];
  return html.replaceAll("127.0.0.1:2025", new URL(world.channel.url).host);
}

test("the page reaches backends from another port of the host", async () => {
  const html = pageOf("docs/first-minute.md");
  const site = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(html, { headers: { "content-type": "text/html" } }),
  });
  const heard = await world.backend.listen("from:system:greeting");
  const open = await openPage(browser);
  await open.page.goto(`http://127.0.0.1:${site.port}/page.html`);
  const received = await open.watched(() => heard.until(() => true, "the event"));
  expect(received.payload.toString()).toBe('{"hello":"backend"}');
  await open.close();
  await site.stop(true);
});

test("the page opened as a file is refused", async () => {
  const file = join(folder, "page.html");
  writeFileSync(file, pageOf("docs/first-minute.md"));
  const page = await browser.newPage();
  await Promise.all([
    page.waitForEvent("requestfailed", (request) => request.url().endsWith("/token")),
    page.goto(pathToFileURL(file).href),
  ]);
  const asked = await fetch(`${world.channel.url}/token`, {
    method: "POST",
    headers: { origin: "null" },
    body: `{"channel":"system"}`,
  });
  expect([asked.status, await asked.text()]).toEqual([403, expect.stringContaining("allowed_origins")]);
  await page.close();
});

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { startWorld, type World } from "../integration/world.ts";
import { launchChromium, openPage } from "./chromium.ts";

/* The page that README.md and docs/first-minute.md show, on a web server of its own and as a file. */

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

test.each([
  ["README.md", "custom_event", `{"message":"hello"}`],
  ["docs/first-minute.md", "greeting", `{"hello":"backend"}`],
])("the page of %s reaches backends from another port of the host", async (document, event, payload) => {
  const html = pageOf(document);
  const site = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(html, { headers: { "content-type": "text/html" } }),
  });
  const heard = await world.backend.listen(`from:system:${event}`);
  const open = await openPage(browser);
  await open.page.goto(`http://127.0.0.1:${site.port}/page.html`);
  const received = await open.watched(() => heard.until(() => true, "the event"));
  expect(received.payload.toString()).toBe(payload);
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

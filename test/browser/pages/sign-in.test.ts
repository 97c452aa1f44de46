/** The one-time sign-in link of the startup log, in a browser. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { type ChannelProcess, startChannel } from "../../integration/channel-process.ts";
import { freePort } from "../../integration/redis-process.ts";
import { ADMIN_SECRET } from "../../integration/world.ts";
import { launchChromium, openPage } from "../chromium.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
}, 30_000);
afterAll(() => browser?.close());

async function withServer(toml: string, work: (channel: ChannelProcess) => Promise<void>): Promise<void> {
  const args = ["--bus", "embedded", "--redis-url", `redis://127.0.0.1:${freePort()}`];
  const channel = await startChannel({ args, toml });
  try {
    await work(channel);
  } finally {
    await channel.stop();
  }
}

async function linkOf({ log }: ChannelProcess): Promise<string> {
  return String((await log.until(({ message }) => message === "one-time admin link")).link);
}

test("the link signs in once, and its code is removed from the address", async () => {
  await withServer("", async (channel) => {
    const link = await linkOf(channel);
    const opened = await openPage(browser);
    await opened.page.goto(link);
    await opened.watched(() => opened.page.waitForSelector("#content:not([hidden])"));
    expect(opened.page.url()).toBe(`${channel.url}/admin.html`);
    await opened.close();
    const again = await openPage(browser);
    expect((await again.page.goto(link))?.status()).toBe(401);
    await again.page.waitForSelector("h1:has-text('This sign-in link no longer works')");
    await again.page.click("a:has-text('Sign in')");
    await again.page.waitForSelector("#sign-in-section:not([hidden])");
    await again.close();
  });
}, 30_000);

test("after a link on another site, the user must press the button", async () => {
  await withServer("", async (channel) => {
    const opened = await openPage(browser);
    const { page } = opened;
    const target = await linkOf(channel);
    const other = Bun.serve({
      port: 0,
      fetch: () => new Response(`<a href="${target}">in</a>`, { headers: { "content-type": "text/html" } }),
    });
    try {
      await page.goto(`http://localhost:${other.port}/`);
      await page.click("a");
      await page.waitForSelector("#sign-in button");
      // No sign-in attempt was made yet.
      expect(channel.lines.filter(({ message }) => message === "audit")).toEqual([]);
      await page.click("#sign-in button");
      await page.waitForSelector("#content:not([hidden])");
    } finally {
      await other.stop(true);
      await opened.close();
    }
  });
}, 30_000);

test("another site that embeds the link as images and frames does not lock the administrator out", async () => {
  await withServer(`admin_secret = "${ADMIN_SECRET}"\n`, async (channel) => {
    const link = `${channel.url}/admin/sign_in?code=x`;
    const markup = `<img src="${link}"><iframe src="${link}"></iframe>`.repeat(15);
    const attacker = Bun.serve({
      port: 0,
      fetch: () => new Response(markup, { headers: { "content-type": "text/html" } }),
    });
    const opened = await openPage(browser);
    try {
      await opened.page.goto(`http://localhost:${attacker.port}/`, { waitUntil: "networkidle" });
      await opened.page.goto(`${channel.url}/admin.html`);
      await opened.page.waitForSelector("#sign-in-section:not([hidden])");
      await opened.page.fill("#secret", ADMIN_SECRET);
      await opened.page.press("#secret", "Enter");
      await opened.page.waitForSelector("#content:not([hidden])");
    } finally {
      await attacker.stop(true);
      await opened.close();
    }
  });
}, 30_000);

import { afterAll, beforeAll, expect, test } from "bun:test";
import { openPage } from "../chromium.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage('base_path = "/hub"\n');
}, 30_000);
afterAll(() => stage?.stop());

/** Below `base_path`. */
const docs = () => `${stage.world.channel.url}/hub/docs/`;

test("are linked from the pages, and lead from one to the next", async () => {
  const opened = await openPage(stage.browser);
  const { page } = opened;
  await opened.watched(async () => {
    await page.goto(`${stage.world.channel.url}/hub/`);
    await page.click("header a:has-text('Documentation')");
    await page.waitForURL(docs());
    await page.click('article a[href="fleet"]');
    await page.waitForURL(`${docs()}fleet`);
    expect(await page.getAttribute("#pages [aria-current]", "href")).toBe("fleet");
    const heading = await page.getAttribute("#contents a", "href");
    await page.click("#contents a");
    await page.waitForURL(`${docs()}fleet${heading}`);
    const next = await page.textContent(".beside [rel=next]");
    await page.click(".beside [rel=next]");
    await page.waitForURL((url) => !url.pathname.endsWith("/fleet"));
    expect(next).toContain((await page.textContent("#pages [aria-current]")) ?? "missing");
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
});

test("search: the slash focuses it, arrows choose, Enter opens the place, Escape closes", async () => {
  const opened = await openPage(stage.browser);
  const { page } = opened;
  await opened.watched(async () => {
    await page.goto(`${docs()}repository/security`);
    await page.keyboard.press("/");
    await page.keyboard.type("kick disconn");
    // The results of the last letter.
    await page
      .locator("#results mark", { hasText: /^disconn$/i })
      .first()
      .waitFor();
    expect(await page.textContent("#found")).toMatch(/places?$/);
    await page.keyboard.press("Escape");
    await page.waitForSelector("#results", { state: "hidden" });
    await page.fill("#query", "zzzz");
    await page.waitForSelector("#found:has-text('Nothing found.')");
    await page.fill("#query", "fleet_secret");
    const first = await page.locator("#results a").first().getAttribute("href");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.waitForURL(first ?? "");
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
});

test("code is copied as it stands in the file", async () => {
  const opened = await openPage(stage.browser);
  const { page } = opened;
  await opened.watched(async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.goto(`${docs()}fleet`);
    const block = page.locator("article .block").first();
    await block.hover();
    await block.locator("button").click();
    await block.locator("button:has-text('Copied')").waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    const source = await Bun.file(`${import.meta.dir}/../../../docs/fleet.md`).text();
    expect(copied.length).toBeGreaterThan(10);
    expect(source).toContain(copied);
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
});

test("work on a phone, without scripts", async () => {
  const context = await stage.browser.newContext({
    javaScriptEnabled: false,
    viewport: { width: 360, height: 740 },
  });
  const page = await context.newPage();
  await page.goto(`${docs()}errors`);
  expect(await page.locator("#search").isVisible()).toBe(false);
  expect(await page.locator("#pages").isVisible()).toBe(false);
  await page.click("button:has-text('All pages')");
  await page.click('#pages a[href="concepts"]');
  await page.waitForURL(`${docs()}concepts`);
  const picture = page.locator("article img").first();
  await picture.scrollIntoViewIfNeeded();
  expect((await picture.boundingBox())?.width).toBeLessThan(340);
  await context.close();
});

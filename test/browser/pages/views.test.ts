/** Views of the administration page: processes and bus, administrative acts. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { call } from "../../integration/api-client.ts";
import { NASTY, type Stage, startStage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage('[channels."kept"]\nhistory = 5\n');
}, 90_000);
afterAll(() => stage?.stop());

test("the system page shows the process, and why the embedded bus has no figures", async () => {
  const opened = await stage.admin("#/system");
  const { page } = opened;
  await opened.watched(async () => {
    await page.locator("#processes td", { hasText: String(stage.world.channel.pid) }).waitFor();
    await page.locator("#bus-reason", { hasText: "embedded bus" }).waitFor();
    expect(await page.locator("#processes-warning").isHidden()).toBe(true);
    expect(await page.getAttribute('nav a[data-page="system"]', "aria-current")).toBe("page");
  });
  await opened.close();
}, 90_000);

test("charts show the time that was chosen, on every page and after a reload", async () => {
  const client = await stage.world.connect();
  await client.join("room:1", { token: stage.world.token("room:1") });
  const opened = await stage.admin("#/overview");
  const { page } = opened;
  await opened.watched(async () => {
    const shown = (span: string) => page.locator(`#charts .drawing[aria-label$="${span}"] canvas`);
    const pressed = (id: string) => page.locator(`#${id} button[aria-pressed="true"]`).textContent();
    await shown("last 10 minutes").first().waitFor();
    await page.locator("#charts-range button", { hasText: "24 h" }).click();
    await shown("last 24 hours").nth(5).waitFor();
    await page.reload();
    await shown("last 24 hours").nth(5).waitFor();
    expect(await pressed("charts-range")).toBe("24 h");
    await page.evaluate('location.hash = "#/channels/room%3A1"');
    await page.locator('#channel-charts .drawing[aria-label$="last 24 hours"] canvas').nth(2).waitFor();
    await page.locator("#channel-range button", { hasText: "10 min" }).click();
    await page.locator('#channel-charts .drawing[aria-label$="last 10 minutes"] canvas').nth(2).waitFor();
    await page.locator("#channel-charts .item", { hasText: "members 1" }).waitFor();
    expect(await pressed("charts-range")).toBe("10 min");
  });
  await opened.close();
}, 90_000);

test("a kept message is shown in full", async () => {
  await stage.world.backend.publish(
    "to:kept:line",
    JSON.stringify({ text: `${NASTY}${"long ".repeat(200)}end` }),
  );
  await stage.world.backend.publish(Buffer.from("to:kept:bytes"), Buffer.from([0, 255, 0x41]));
  const opened = await stage.admin("#/channels/kept");
  const { page } = opened;
  await opened.watched(async () => {
    await page.getByLabel("Show line").click();
    await page.locator("dialog[open] .json", { hasText: "long end" }).waitFor();
    expect(await page.title()).not.toBe("taken");
    await page.keyboard.press("Escape");
    await page.getByLabel("Show bytes").click();
    await page.locator("dialog[open] .hex", { hasText: "00 ff 41" }).waitFor();
    await page.locator("dialog[open] button", { hasText: "Close" }).click();
    await page.locator("dialog").waitFor({ state: "detached" });
  });
  await opened.close();
}, 90_000);

test("the audit page lists acts as text, and filters them", async () => {
  const { url } = stage.world.channel;
  await call(url, "/api/disconnect", { body: { id: NASTY } });
  await call(url, "/api/bans/erin", { method: "DELETE" });
  const opened = await stage.admin("#/audit");
  const { page } = opened;
  await opened.watched(async () => {
    const rows = page.locator("#audit tbody tr:visible");
    await rows.filter({ hasText: "onerror" }).waitFor();
    expect(await page.title()).not.toBe("taken");
    await page.selectOption("#audit-result", "failed");
    await page.locator("#audit-total", { hasText: /^1 of/ }).waitFor();
    await rows.filter({ hasText: "id=erin" }).filter({ hasText: "refused 404" }).waitFor();
    await page.selectOption("#audit-result", "");
    await page.fill("#audit-search", "no act has this");
    await page.locator("#audit .none:visible").waitFor();
  });
  await opened.close();
}, 90_000);

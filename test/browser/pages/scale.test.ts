import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Page } from "playwright-core";
import { followMany } from "../../integration/followers.ts";
import { type Stage, startStage } from "./stage.ts";

/** A page that is blocked for longer hangs, in ms. Server, publisher and browser share the machine: this is no measure of speed. */
const MAX_BLOCKED = 5000;

let stage: Stage;
beforeAll(async () => {
  stage = await startStage("[limits]\nframes_per_second = 100000\n");
}, 30_000);
afterAll(() => stage?.stop());

/** Measures the longest time that the page's event loop is blocked, in ms. */
async function measureBlocked(page: Page): Promise<() => Promise<number>> {
  await page.evaluate(() => {
    const state = { worst: 0, last: performance.now() };
    Object.assign(window, { frames: state });
    const tick = (): void => {
      const now = performance.now();
      state.worst = Math.max(state.worst, now - state.last);
      state.last = now;
      setTimeout(tick, 0);
    };
    tick();
  });
  return () => page.evaluate<number>("window.frames.worst");
}

/** Messages that are published at most: a page that is slower than the publisher gets to its end. */
const MOST = 20_000;

/** Publishes in bursts every 20 ms. Returns a function that stops and returns the number of messages published. */
function publish(topic: string, perSecond: number): () => number {
  let count = 0;
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const due = Math.min(MOST, ((performance.now() - startedAt) / 1000) * perSecond);
    for (; count < due; count++)
      void stage.world.backend.publish(topic, `{"n":${count},"text":"some words"}`);
  }, 20);
  return () => {
    clearInterval(timer);
    return count;
  };
}

test("10,000 channels scroll, sort and search without blocking the page", async () => {
  const sockets = await followMany(stage.world, "row-", 10_000);
  const opened = await stage.admin("#/channels");
  const { page } = opened;
  await opened.watched(async () => {
    await page.waitForFunction(() => document.getElementById("channels-total")?.textContent === "10,003");
    const worst = await measureBlocked(page);
    const viewport = page.locator("#channels .viewport");
    for (const part of [0.1, 0.5, 0.9, 1]) {
      await viewport.evaluate((each, to) => {
        each.scrollTop = each.scrollHeight * to;
      }, part);
      const first = Math.floor(10_003 * part) - 40;
      await page.waitForFunction((least) => {
        const row = document.querySelector("#channels tbody tr:not(.spacer):not([hidden])");
        return row !== null && Number(row.getAttribute("aria-rowindex")) >= least;
      }, first);
    }
    await page.waitForSelector("#channels a:text-is('system')");
    expect(await page.locator("#channels tbody tr").count()).toBeLessThan(100);
    const names = page.locator("#channels th button", { hasText: "Channel" });
    await names.click();
    await page.waitForFunction(() => document.querySelector("#channels tbody a")?.textContent === "admin");
    await names.click();
    await page.waitForFunction(() => document.querySelector("#channels tbody a")?.textContent === "system");
    await page.fill("#channels-search", "row-0471");
    await page.waitForFunction(
      () => document.getElementById("channels-total")?.textContent === "10 of 10,003",
    );
    expect(await worst()).toBeLessThan(MAX_BLOCKED);
  });
  await opened.close();
  for (const socket of sockets) socket.close();
}, 120_000);

test("5,000 messages per second are all counted without blocking the test client", async () => {
  const opened = await stage.client();
  const { page } = opened;
  await opened.watched(async () => {
    await page.fill("#join-name", "busy");
    await page.press("#join-name", "Enter");
    await page.locator(".joined .state", { hasText: "joined" }).nth(1).waitFor();
    const worst = await measureBlocked(page);
    const stop = publish("to:busy:tick", 5000);
    await page.waitForTimeout(3000);
    await page.click("#stream-pause");
    await page.waitForSelector("#stream-pause:has-text('Resume')");
    await page.click("#stream-pause");
    await page.fill("#stream-filter", '"n":1');
    await page.waitForTimeout(1000);
    const published = stop();
    expect(published).toBeGreaterThan(15_000);
    await page.waitForFunction(
      (all) =>
        Number(document.getElementById("stream-count")?.textContent?.split(",").slice(0, 2).join("")) >= all,
      published,
    );
    expect(await worst()).toBeLessThan(MAX_BLOCKED);
    expect(await page.locator("#stream-list .message").count()).toBeLessThan(60);
  });
  await opened.close();
}, 120_000);

test("5,000 messages per second are sampled on the administration page, and skipped ones counted", async () => {
  const opened = await stage.admin("#/channels/flooded");
  const { page } = opened;
  await opened.watched(async () => {
    await page.waitForSelector('#inspect-state[data-state="good"]');
    const worst = await measureBlocked(page);
    const stop = publish("to:flooded:tick", 5000);
    await page.waitForTimeout(3000);
    const published = stop();
    await page.waitForFunction((all) => {
      const text = document.getElementById("inspect-count")?.textContent ?? "";
      return Number(text.split(" ")[0]?.replaceAll(",", "").replace(/\D+$/, "").slice(0, 5)) >= all;
    }, published);
    expect(await page.textContent("#inspect-count")).toContain("skipped");
    expect(await worst()).toBeLessThan(MAX_BLOCKED);
  });
  await opened.close();
}, 120_000);

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Page } from "playwright-core";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage();
}, 30_000);
afterAll(() => stage?.stop());

async function join(page: Page, channel: string): Promise<void> {
  await page.fill("#join-name", channel);
  await page.press("#join-name", "Enter");
  await state(page, channel, "joined");
}

/** Waits until a channel's row says so. */
async function state(page: Page, channel: string, text: string): Promise<void> {
  await page
    .locator(".joined li", { has: page.locator(".name", { hasText: channel }) })
    .locator(".state", { hasText: text })
    .waitFor();
}

test("it connects, joins system, shows the clock, and who is there by user", async () => {
  const alice = await stage.client("?name=alice");
  const other = await stage.client();
  const { page } = alice;
  await alice.watched(async () => {
    expect(await page.textContent("#state")).toBe("Connected as alice, by WebSocket");
    await page.waitForFunction(() => /^\d+$/.test(document.getElementById("counter")?.textContent ?? ""));
    expect(await page.textContent("#time")).toMatch(/\d/);
    await page.waitForSelector("#users li:nth-child(2)");
    expect((await page.locator("#users li").allTextContents()).sort()).toEqual(["alice", "anonymous"]);
    await other.close();
    await page.waitForFunction(() => document.querySelectorAll("#users li").length === 1);
    expect(alice.console.all).toEqual([]);
    // No token stands in an address, where it would be logged.
    expect(alice.sockets.filter((address) => address.includes("oken"))).toEqual([]);
  });
  await alice.close();
});

test("any channel can be joined, left, rejoined and forgotten, and a refusal says why", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "weather:wind");
    await page.waitForFunction(() => document.getElementById("present-in")?.textContent === "weather:wind");
    await page.getByLabel("Leave weather:wind").click();
    await state(page, "weather:wind", "left");
    await page.getByLabel("Rejoin weather:wind").click();
    await state(page, "weather:wind", "joined");
    await page.getByLabel("Forget weather:wind").click();
    await page.waitForFunction(() => document.querySelectorAll(".joined li").length === 1);
    await page.fill("#join-name", "admin");
    await page.press("#join-name", "Enter");
    await state(page, "admin", "no token: Administrator required");
    await page.fill("#join-name", "room");
    await page.click("summary:has-text('token of your own')");
    await page.fill("#join-token", stage.world.token("another room"));
    await page.press("#join-token", "Enter");
    await state(page, "room", "refused: unauthorized");
  });
  await opened.close();
});

test("messages stream in: JSON folds, bytes are a hex view with their size, and both can be filtered and held", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  const { backend } = stage.world;
  await opened.watched(async () => {
    await join(page, "weather:wind");
    await backend.publish("to:weather:wind:reading", '{"station":"ST-1","wind":{"speed":3,"gusts":[1,2]}}');
    await backend.publish("to:weather:wind:raster", Buffer.from("\u0000\u0001Hello, bytes", "latin1"));
    await page.waitForSelector("#stream-list .message:nth-child(2)");
    const events = () => page.locator("#stream-list .message:not([hidden]) .event").allTextContents();
    expect(await events()).toEqual(["raster", "reading"]);
    expect(await page.textContent("#stream-count")).toStartWith("2");

    await page.locator(".message", { hasText: "reading" }).click();
    expect(await page.textContent("#stream-detail code")).toBe("to:weather:wind:reading");
    const fold = page.locator("#stream-detail details", { hasText: "gusts" }).last();
    expect(await page.locator("#stream-detail .leaf", { hasText: "ST-1" }).isVisible()).toBe(true);
    expect(await fold.evaluate((each) => each instanceof HTMLDetailsElement && each.open)).toBe(false);
    await fold.locator("summary").click();
    await fold.locator(".leaf", { hasText: "1: 2" }).waitFor();

    await page.locator(".message", { hasText: "raster" }).click();
    expect(await page.textContent("#stream-detail .hex")).toContain("00 01 48 65 6c 6c 6f 2c");
    expect(await page.textContent("#stream-detail .hex")).toContain("..Hello, bytes");
    expect(await page.textContent("#stream-detail .detail-head")).toContain("14 B");

    await page.fill("#stream-filter", "ST-1");
    await page.waitForFunction(() => document.querySelectorAll(".message:not([hidden])").length === 1);
    await page.fill("#stream-filter", "");
    await page.click("#stream-pause");
    await backend.publish("to:weather:wind:late", "1");
    await opened.frames.until((frame) => frame.data.includes('"late"'));
    await page.waitForFunction(() => document.getElementById("stream-count")?.textContent?.startsWith("3"));
    expect(await events()).toEqual(["raster", "reading"]);
    await page.click("#stream-pause");
    await page.locator(".message", { hasText: "late" }).waitFor();
    await page.click("#stream-clear");
    await page.waitForFunction(() => document.querySelectorAll(".message:not([hidden])").length === 0);
  });
  await opened.close();
});

test("any event can be pushed with any payload, and the reply or the refusal is shown", async () => {
  const heard = await stage.world.backend.listenToPushes("room:7");
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "room:7");
    await page.fill("#event", "ask");
    await page.fill("#payload", '{"n": [1, "ü"]}');
    await page.press("#payload", "Control+Enter");
    await page.waitForSelector('#reply[data-state="good"]');
    expect((await heard.next()).payload.toString()).toBe('{"n":[1,"ü"]}');
    await page.fill("#payload", "hex: ff 00 10");
    await page.click("#send");
    expect([...(await heard.next()).payload]).toEqual([255, 0, 16]);
    await page.fill("#payload", "{");
    await page.click("#send");
    expect(await page.textContent("#reply")).toContain("not JSON");
    await page.fill("#payload", "");
    await page.fill("#event", "a:b");
    await page.click("#send");
    await page.locator("#reply", { hasText: "invalid event" }).waitFor();
  });
  await opened.close();
});

test("the line can be broken and mended, and goes by long polling too", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "room:8");
    await page.click("#break");
    await page.waitForSelector('#state:text("Broken")');
    await page.waitForFunction(() => document.querySelectorAll('.joined [data-state="good"]').length === 0);
    await page.click("#break");
    await page.waitForFunction(() => document.querySelectorAll('.joined [data-state="good"]').length === 2);
    expect(await page.textContent("#tries")).toBe("twice");
    await page.selectOption("#transport", "longpoll");
    await page.waitForSelector('#state:text("long polling")');
    await page.waitForFunction(() => document.querySelectorAll('.joined [data-state="good"]').length === 2);
    await stage.world.backend.publish("to:room:8:polled", '"yes"');
    await page.locator(".message", { hasText: "polled" }).waitFor();
    expect(opened.requests.some((request) => request.includes("/longpoll"))).toBe(true);
  });
  await opened.close();
});

test("the examples name what is chosen, in each language, and can be copied", async () => {
  const opened = await stage.client("?name=O'Neil");
  const { page } = opened;
  await opened.watched(async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await join(page, "it's [here]");
    await page.fill("#event", "greet");
    const text = () => page.textContent("#snippet");
    await page.waitForFunction(() => document.getElementById("snippet")?.textContent?.includes("greet"));
    expect(await text()).toContain(`'{"channel":"it'\\''s [here]","id":"O'\\''Neil"}'`);
    expect(await text()).toContain(`redis-cli psubscribe 'from:it'\\''s \\[here\\]:*'`);
    await page.click("#languages button:has-text('Python')");
    await page.waitForFunction(() =>
      document.getElementById("snippet")?.textContent?.includes("import redis"),
    );
    expect(await text()).toContain(`r.publish("to:it's [here]:greet"`);
    await page.click("#languages button:has-text('JavaScript')");
    await page.waitForFunction(() =>
      document.getElementById("snippet")?.textContent?.includes("Phoenix.Socket"),
    );
    await page.click("#snippet-copy button");
    await page.waitForSelector("#snippet-copy button:has-text('Copied')");
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe((await text()) ?? "");
  });
  await opened.close();
});

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Page } from "playwright-core";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage('[channels."board:*"]\nclient_events = ["cursor", "draw*"]\n');
}, 30_000);
afterAll(() => stage?.stop());

async function join(page: Page, channel: string): Promise<void> {
  await page.fill("#join-name", channel);
  await page.press("#join-name", "Enter");
  await state(page, channel, "joined");
}

/** Waits until a channel's row shows a status. */
async function state(page: Page, channel: string, text: string): Promise<void> {
  await page
    .locator(".joined li", { has: page.locator(".name", { hasText: channel }) })
    .locator(".state", { hasText: text })
    .waitFor();
}

test("connects, joins system, and shows the clock and the users", async () => {
  const alice = await stage.client("?name=alice");
  const other = await stage.client();
  const { page } = alice;
  await alice.watched(async () => {
    expect(await page.textContent("#state")).toBe("Connected as alice (WebSocket)");
    await page.waitForFunction(() => /^\d+$/.test(document.getElementById("counter")?.textContent ?? ""));
    expect(await page.textContent("#time")).toMatch(/\d/);
    await page.waitForSelector("#users li:nth-child(2)");
    expect((await page.locator("#users li").allTextContents()).sort()).toEqual(["alice", "anonymous"]);
    await other.close();
    await page.waitForFunction(() => document.querySelectorAll("#users li").length === 1);
    expect(alice.console.all).toEqual([]);
    // URLs are logged by proxies: they must not contain tokens.
    expect(alice.sockets.filter((address) => address.includes("oken"))).toEqual([]);
  });
  await alice.close();
});

test("channels can be joined, left, rejoined and removed, and a rejection shows its reason", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "weather:wind");
    await page.waitForFunction(
      () => document.getElementById("users-channel")?.textContent === "weather:wind",
    );
    await page.getByLabel("Leave weather:wind").click();
    await state(page, "weather:wind", "left");
    await page.getByLabel("Rejoin weather:wind").click();
    await state(page, "weather:wind", "joined");
    await page.getByLabel("Remove weather:wind").click();
    await page.waitForFunction(() => document.querySelectorAll(".joined li").length === 1);
    await page.fill("#join-name", "admin");
    await page.press("#join-name", "Enter");
    await state(page, "admin", "no token: Administrator required");
    await page.fill("#join-name", "room");
    await page.click("summary:has-text('own token')");
    await page.fill("#join-token", stage.world.token("another room"));
    await page.press("#join-token", "Enter");
    await state(page, "room", "rejected: unauthorized");
  });
  await opened.close();
});

test("messages are shown live, JSON as a tree and bytes as a hex dump, and can be filtered and paused", async () => {
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
    await page.locator("#stream-count", { hasText: /^2/ }).waitFor();

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
    await page.locator("#stream-count", { hasText: "3, paused, 1 new" }).waitFor();
    expect(await events()).toEqual(["raster", "reading"]);
    // A filter does not end the pause.
    await page.fill("#stream-filter", "late");
    await page.getByText("No message matches the filter.").waitFor();
    await page.fill("#stream-filter", "");
    await page.locator(".message", { hasText: "raster" }).waitFor();
    expect(await events()).toEqual(["raster", "reading"]);
    await page.click("#stream-pause");
    await page.locator(".message", { hasText: "late" }).waitFor();
    await page.click("#stream-clear");
    await page.waitForFunction(() => document.querySelectorAll(".message:not([hidden])").length === 0);
  });
  await opened.close();
});

test("an empty list says how to get a message, and a row names its channel", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await page.locator("#stream-command", { hasText: "to:room:1:hello" }).waitFor();
    await page.getByRole("button", { name: "Join room:1" }).click();
    await state(page, "room:1", "joined");
    await page.getByRole("button", { name: "Join room:1" }).waitFor({ state: "hidden" });
    await stage.world.backend.publish("to:room:1:hello", "1");
    await page.locator(".message .channel").getByText("room:1", { exact: true }).waitFor();
    expect(await page.locator("#stream-empty").isVisible()).toBe(false);
    for (const channel of ["room:1", "system"]) await page.getByLabel(`Remove ${channel}`).click();
    await page.getByText("No channel is joined.").waitFor();
    await page.getByText("Join a channel to see its users.").waitFor();
  });
  await opened.close();
});

test("a message opens without moving the form, and a phone shows messages first", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "room:3");
    await stage.world.backend.publish("to:room:3:hello", '{"a":{"b":[1,2,3]}}');
    const top = async (selector: string) => (await page.locator(selector).boundingBox())?.y ?? Number.NaN;
    for (const width of [1360, 360]) {
      await page.setViewportSize({ width, height: 800 });
      const before = await top("#push");
      await page.locator(".message", { hasText: "hello" }).click();
      await page.locator("#stream-detail .json").waitFor();
      expect(await top("#push")).toBe(before);
      await page.getByRole("button", { name: "Close" }).click();
    }
    for (const below of ["#joined", "#push", "#users", "#connect-count"]) {
      expect(await top(below)).toBeGreaterThan(await top("#stream-list"));
    }
  });
  await opened.close();
});

test("any event can be pushed with any payload, and the reply or rejection is shown", async () => {
  const pushes = await stage.world.backend.listenToPushes("room:7");
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "room:7");
    await page.fill("#event", "ask");
    await page.fill("#payload", '{"n": [1, "ü"]}');
    await page.press("#payload", "Control+Enter");
    await page.waitForSelector('#reply[data-state="good"]');
    expect((await pushes.next()).payload.toString()).toBe('{"n":[1,"ü"]}');
    await page.locator('.message[data-direction="from"]', { hasText: "ask" }).click();
    expect(await page.textContent("#stream-detail")).toContain("from:room:7:ask");
    expect(await page.textContent("#stream-detail")).toContain("Goes to backends, not to browsers");
    await page.fill("#payload", "hex: ff 00 10");
    await page.click("#send");
    expect([...(await pushes.next()).payload]).toEqual([255, 0, 16]);
    await page.waitForSelector('#reply[data-state="good"]');
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

test("the form shows which events other members get besides backends", async () => {
  const [alice, bob] = [await stage.client("?name=alice"), await stage.client("?name=bob")];
  const { page } = alice;
  await alice.watched(async () => {
    const BACKENDS = "Goes to backends, not to browsers: those get what a backend publishes.";
    const hint = (text: string) => page.locator("#recipients").getByText(text, { exact: true }).waitFor();
    await hint(BACKENDS);
    for (const each of [page, bob.page]) await join(each, "board:7");
    await hint("Goes to backends, not to browsers. Events for the other members: cursor, draw*");
    for (const event of ["cursor", "draw", "drawn"]) {
      await page.fill("#event", event);
      await hint("Goes to backends and the other members.");
      await page.click("#send");
      await bob.page.locator(".message .event").getByText(event, { exact: true }).waitFor();
    }
    await page.fill("#event", "cursors");
    await hint("Goes to backends, not to browsers. Events for the other members: cursor, draw*");
    await page.fill("#join-name", "board:8");
    await page.click("summary:has-text('own token')");
    await page.fill("#join-token", stage.world.token("board:8", { can: ["join"] }));
    await page.press("#join-token", "Enter");
    await state(page, "board:8", "joined");
    await hint(BACKENDS);
    await page.getByLabel("Leave board:8").click();
    await hint("Join the channel to push.");
  });
  await Promise.all([alice.close(), bob.close()]);
});

test("the page disconnects, reconnects, and switches to long polling", async () => {
  const opened = await stage.client("?name=alice");
  const { page } = opened;
  await opened.watched(async () => {
    await join(page, "room:8");
    await page.click("#disconnect");
    await page.waitForSelector('#state:text("Disconnected by you")');
    await state(page, "room:8", "disconnected");
    await page.waitForFunction(() => document.querySelectorAll('.joined [data-state="good"]').length === 0);
    await page.getByText("Reconnect to push.").waitFor();
    await page.locator("header").getByRole("button", { name: "Reconnect" }).click();
    await page.waitForFunction(() => document.querySelectorAll('.joined [data-state="good"]').length === 2);
    expect(await page.textContent("#connect-count")).toBe("2");
    await page.selectOption("#transport", "longpoll");
    await page.waitForSelector('#state:text("long polling")');
    await page.waitForFunction(() => document.querySelectorAll('.joined [data-state="good"]').length === 2);
    await stage.world.backend.publish("to:room:8:polled", '"yes"');
    await page.locator(".message", { hasText: "polled" }).waitFor();
    expect(opened.requests.some((request) => request.includes("/longpoll"))).toBe(true);
  });
  await opened.close();
});

test("the snippets use the values of the form, in each language, and can be copied", async () => {
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
    expect(await text()).toContain(`r.publish("to:it's [here]:greet", json.dumps({"message": "Hello"}))`);
    const payload = page.locator("#payload");
    const snippet = (part: string) => page.locator("#snippet", { hasText: part }).waitFor();
    await payload.fill('{"null": [true, false, null], "n": 12345678901234567890, "url": "a\\/b"}');
    await snippet('json.dumps({"null": [True, False, None], "n": 12345678901234567890, "url": "a/b"})');
    await payload.fill("hex: ff 00");
    await snippet('bytes.fromhex("ff 00")');
    await page.click("#languages button:has-text('curl')");
    await snippet('"base64": "/wA="');
    await snippet(`printf '\\377\\000' | redis-cli -x publish 'to:it'\\''s [here]:greet'`);
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

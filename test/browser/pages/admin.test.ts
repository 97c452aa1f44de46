import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { AdminSessions } from "../../../src/auth/admin-session.ts";
import { deriveKey } from "../../../src/auth/keys.ts";
import { Revocations } from "../../../src/auth/revocations.ts";
import { ADMIN_SECRET } from "../../integration/world.ts";
import { openPage } from "../chromium.ts";
import { type Stage, signIn, startStage } from "./stage.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage();
}, 30_000);
afterAll(() => stage?.stop());

describe("signing in", () => {
  test("takes the secret and nothing else, stays over a reload, and ends by signing out", async () => {
    const opened = await openPage(stage.browser);
    const { page } = opened;
    await opened.watched(async () => {
      await page.goto(`${stage.world.channel.url}/admin.html`);
      await page.waitForSelector("#sign-in-section:not([hidden])");
      expect(opened.console.all).toEqual([]);
      await page.fill("#secret", "wrong");
      await page.press("#secret", "Enter");
      await page.waitForSelector('#sign-in-error[data-state="bad"]');
      expect(await page.textContent("#sign-in-error")).toBe("Wrong admin secret.");
      await signIn(page);
      await page.reload();
      await page.waitForSelector("#content:not([hidden])");
      await page.click("#sign-out");
      await page.waitForSelector("#sign-in-section:not([hidden])");
      expect(await page.context().cookies()).toEqual([]);
      await page.reload();
      await page.waitForSelector("#sign-in-section:not([hidden])");
    });
    await opened.close();
  });

  test("an expired session shows the sign-in section, on an open page and after a reload", async () => {
    const opened = await stage.admin("#/connections");
    const { page } = opened;
    const past = Date.now() - 13 * 60 * 60 * 1000;
    const expired = new AdminSessions(
      [deriveKey(ADMIN_SECRET, "session")],
      new Revocations(),
      () => past,
    ).create().token;
    await opened.watched(async () => {
      const url = stage.world.channel.url;
      await page.context().addCookies([{ name: "channel_session", value: expired, url }]);
      await page.waitForSelector("#sign-in-section:not([hidden])");
      expect(await page.textContent("#state")).toBe("Session expired");
      expect(await page.locator("#content").isHidden()).toBe(true);
      await page.reload();
      await page.waitForSelector("#sign-in-section:not([hidden])");
      await signIn(page);
    });
    await opened.close();
  });

  test("after ten wrong secrets the right one is rejected too, for a while", async () => {
    const apart = await startStage();
    const opened = await openPage(apart.browser);
    const { page } = opened;
    await opened.watched(async () => {
      await page.goto(`${apart.world.channel.url}/admin.html`);
      await page.waitForSelector("#sign-in-section:not([hidden])");
      for (let i = 0; i < 10; i++) {
        await page.fill("#secret", `guess ${i}`);
        const answered = page.waitForResponse((response) => response.url().endsWith("/sign_in"));
        await page.press("#secret", "Enter");
        expect((await answered).status()).toBe(401);
      }
      await page.fill("#secret", ADMIN_SECRET);
      await page.press("#secret", "Enter");
      await page.waitForSelector("#sign-in-error:has-text('Too many wrong secrets')");
      expect(await page.locator("#content").isHidden()).toBe(true);
    });
    await opened.close();
    await apart.stop();
  }, 30_000);
});

test("the overview shows live counters and charts", async () => {
  const client = await stage.world.connect();
  await client.join("room:1", { token: stage.world.token("room:1") });
  const opened = await stage.admin();
  const { page } = opened;
  await opened.watched(async () => {
    const shows = async (name: string, value: string): Promise<void> => {
      const tile = page.locator(".tile", { has: page.locator(`dt:text-is("${name}")`) });
      await tile.locator(`.value:text-is("${value}")`).waitFor();
    };
    await shows("Bus", "up");
    await shows("Connections", "1");
    for (let i = 0; i < 200; i++) await stage.world.backend.publish("to:room:1:tick", "1");
    await page.waitForFunction(() =>
      [...document.querySelectorAll(".tile")].some(
        (each) => each.textContent?.startsWith("Delivered") && !/Delivered0\/s/.test(each.textContent),
      ),
    );
    await page.locator("#charts .drawing:has(canvas)").nth(5).waitFor();
    await stage.world.backend.publish("to:broken", "1");
    await page.waitForSelector("#reasons-dropped th:has-text('malformed')");
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
  stage.world.cutClients();
});

test("a channel with history shows its kept messages, the newest first", async () => {
  const apart = await startStage('[channels."room:*"]\nhistory = 3\n');
  try {
    for (const n of [1, 2, 3, 4]) await apart.world.backend.publish(`to:room:9:line`, `{"n":${n}}`);
    const opened = await apart.admin("#/channels/room%3A9");
    const { page } = opened;
    await page.waitForSelector("#history tbody tr:not(.spacer):not([hidden]):nth-child(4)");
    const rows = page.locator("#history tbody tr:not(.spacer):not([hidden])");
    const texts = await rows.allInnerTexts();
    expect(texts.map((text) => /"n":(\d)/.exec(text)?.[1])).toEqual(["4", "3", "2"]);
    expect(texts[0]).toContain("line");
    expect(texts[0]).toMatch(/[0-9a-z]+\.[0-9a-z]+-\d+/);
    await page.waitForSelector("#channel-facts:has-text('3 of 3')");
    const position = String(/[0-9a-z]+\.[0-9a-z]+-\d+/.exec(texts[1] ?? "")?.[0]);
    const token = apart.world.token("room:9");
    const clients = await Promise.all([apart.world.connect(), apart.world.connect(), apart.world.connect()]);
    for (const [index, recover] of [null, position, "unknown-1"].entries()) {
      await clients[index]?.join("room:9", { token, recover });
    }
    await page.waitForSelector("#channel-facts:has-text('Recovery: unknown position')");
    await page.waitForSelector("#members td:has-text('unknown position')");
    expect(await page.locator("#members td", { hasText: /^recovered$/ }).count()).toBe(1);
    await page.goto(`${apart.world.channel.url}/admin.html#/channels/other`);
    await page.waitForFunction(() => document.getElementById("channel-name")?.textContent === "other");
    await page.waitForSelector("#history-section", { state: "hidden" });
  } finally {
    await apart.stop();
  }
}, 60_000);

test("channels can be searched and opened; a channel's page shows members and messages in both directions", async () => {
  const { world } = stage;
  const client = await world.connect();
  await client.join("weather:wind:now", { token: world.token("weather:wind:now") });
  const opened = await stage.admin("#/channels");
  const { page } = opened;
  await opened.watched(async () => {
    await page.fill("#channels-search", "WIND");
    await page.waitForFunction(
      () => document.querySelectorAll("#channels tbody tr:not(.spacer):not([hidden])").length === 1,
    );
    await page.click("#channels tbody a:has-text('weather:wind:now')");
    await page.waitForSelector("#page-channel:not([hidden])");
    expect(await page.textContent("#channel-name")).toBe("weather:wind:now");
    await page.waitForSelector("#members td:has-text('alice')");
    // Connection id and join ref are parsed from the agent id, whose channel name contains colons.
    const cells = await page.locator("#members tbody tr:not(.spacer):not([hidden]) td").allTextContents();
    expect(cells[0]).toStartWith("alice");
    expect(cells[1]).toMatch(/^[0-9A-Za-z]{14}$/);
    expect(cells[2]).toBe("1");

    await page.waitForSelector('#inspect-state[data-state="good"]');
    await world.backend.publish("to:weather:wind:now:update", '{"a":1}');
    await client.ask({ topic: "weather:wind:now", joinRef: "1", event: "ask", payload: '{"b":2}' });
    await page.waitForSelector("#inspect-list .message:has-text('update')");
    await page.waitForSelector("#inspect-list .message:has-text('ask')");
    await page.click("#inspect-list .message:has-text('ask')");
    expect(await page.textContent("#inspect-detail")).toContain("from:weather:wind:now:ask");
    expect(await page.textContent("#inspect-detail")).toContain(`by ${cells[1]}:weather:wind:now:1`);

    await page.fill("#channel-publish-event", "greeting");
    await page.click("#channel-publish button");
    expect((await client.event("greeting")).payload).toEqual({ hello: "from the administrator" });
    await page.waitForSelector("#channel-publish-reply:has-text('Subscribers on this server: 1')");
  });
  await opened.close();
  world.cutClients();
});

describe("destructive actions ask for confirmation", () => {
  test("kick, on the channel's page", async () => {
    const { world } = stage;
    const client = await world.connect();
    await client.join("room:2", { token: world.token("room:2", { id: "mallory" }) });
    const opened = await stage.admin("#/channels/room%3A2");
    const { page } = opened;
    const kick = page.getByLabel("Kick mallory", { exact: true });
    await opened.watched(async () => {
      await kick.click();
      await page.waitForSelector("dialog[open]");
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog", { state: "detached" });
      await kick.click();
      await page.waitForSelector("dialog h2:has-text('Kick mallory from room:2?')");
      await page.click("dialog button:has-text('Cancel')");
      expect((await client.fence()).filter(({ event }) => event === "phx_close")).toEqual([]);
      await kick.click();
      await page.click("dialog button.danger");
      await client.event("phx_close");
      await page.waitForSelector("#notice:has-text('1 membership of mallory in room:2 ended')");
      await page.waitForSelector("#members .none");
    });
    await opened.close();
    world.cutClients();
  });

  test("close a connection, in the list", async () => {
    const { world } = stage;
    const client = await world.connect();
    await client.join("room:3", { token: world.token("room:3", { id: "mallory" }) });
    const opened = await stage.admin("#/connections");
    const { page } = opened;
    await opened.watched(async () => {
      await page.fill("#connections-search", "mallory");
      await page.waitForFunction(
        () => document.querySelectorAll("#connections tbody tr:not(.spacer):not([hidden])").length === 1,
      );
      await page.click("#connections tbody button");
      await page.waitForSelector("dialog h2:has-text('Close a connection of mallory?')");
      await page.waitForSelector("dialog p:has-text('in 1 channel: room:3')");
      await page.click("dialog button.danger");
      expect(await client.socket.closed).toMatchObject({ code: 1001 });
    });
    await opened.close();
  }, 20_000);

  test("ban, and lift the ban", async () => {
    const { world } = stage;
    const join = async () => {
      const client = await world.connect();
      return client.join("room:4", { token: world.token("room:4", { id: "mallory" }) });
    };
    const opened = await stage.admin("#/tools");
    const { page } = opened;
    await opened.watched(async () => {
      await page.fill("#disconnect-user", "mallory");
      await page.fill("#disconnect-ban", "10m");
      await page.press("#disconnect-ban", "Enter");
      await page.waitForSelector("dialog p:has-text('No open connection of mallory')");
      await page.click("dialog button.danger");
      await page.waitForSelector("#bans code:has-text('mallory')");
      await page.waitForSelector('#notice[data-state="waiting"]:has-text("Nobody was disconnected")');
      expect((await join()).status).toBe("error");
      await page.getByLabel("Lift the ban on mallory").click();
      await page.waitForSelector("#bans:has-text('No active bans')");
      expect((await join()).status).toBe("ok");
    });
    await opened.close();
    world.cutClients();
  });
});

test("a created token can join its channels only", async () => {
  const { world } = stage;
  const opened = await stage.admin("#/tools");
  const { page } = opened;
  await opened.watched(async () => {
    await page.fill("#token-channels", "room:5 room:6");
    await page.fill("#token-user", "grace");
    await page.press("#token-user", "Enter");
    const token = (await page.textContent("#token-reply code")) ?? "";
    const client = await world.connect();
    expect((await client.join("room:6", { token })).status).toBe("ok");
    expect((await client.join("room:7", { token })).status).toBe("error");
  });
  await opened.close();
  world.cutClients();
});

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { type OpenPage, openPage } from "../chromium.ts";
import { type Stage, startStage } from "./stage.ts";

const AXE = readFileSync(join(import.meta.dir, "../../../node_modules/axe-core/axe.min.js"), "utf8");

let stage: Stage;
beforeAll(async () => {
  stage = await startStage();
  const client = await stage.world.connect();
  await client.join("room:1", { token: stage.world.token("room:1") });
}, 30_000);
afterAll(() => stage?.stop());

const PAGES: Record<string, () => Promise<OpenPage>> = {
  "the client": async () => {
    const opened = await stage.client("?name=alice");
    await opened.page.fill("#join-name", "room:1");
    await opened.page.press("#join-name", "Enter");
    await opened.page.locator(".joined .state", { hasText: "joined" }).nth(1).waitFor();
    await stage.world.backend.publish("to:room:1:update", '{"a":{"b":[1,2,3]},"text":"words"}');
    await opened.page.locator(".message", { hasText: "update" }).click();
    return opened;
  },
  "the sign-in section": async () => {
    const opened = await openPage(stage.browser);
    await opened.page.goto(`${stage.world.channel.url}/admin.html`);
    await opened.page.waitForSelector("#sign-in-section:not([hidden])");
    return opened;
  },
  "a used sign-in link": () => openAt("/admin/sign_in?code=x"),
  "an unknown address": () => openAt("/not/here"),
  "the overview": () => stage.admin(),
  channels: () => stage.admin("#/channels"),
  "a channel": () => stage.admin("#/channels/room%3A1"),
  connections: () => stage.admin("#/connections"),
  system: async () => {
    const opened = await stage.admin("#/system");
    await opened.page.locator("#processes tr").waitFor();
    return opened;
  },
  audit: async () => {
    const opened = await stage.admin("#/audit");
    await opened.page.locator("#audit tbody td", { hasText: "sign in" }).first().waitFor();
    return opened;
  },
  actions: () => stage.admin("#/tools"),
  "the API explorer": async () => {
    const opened = await stage.admin();
    await opened.page.goto(`${stage.world.channel.url}/api-explorer`);
    await opened.page.click("#getApiChannelsName > summary");
    await opened.page.click("#getApiChannelsName form button:has-text('Send')");
    await opened.page.waitForSelector('#getApiChannelsName .result .state[data-state="good"]');
    return opened;
  },
  "the documentation": async () => {
    const opened = await openPage(stage.browser);
    await opened.page.goto(`${stage.world.channel.url}/docs/fleet`);
    await opened.page.waitForSelector("article .block button");
    return opened;
  },
  "a confirmation": async () => {
    const opened = await stage.admin("#/channels/room%3A1");
    await opened.page.getByLabel("Kick alice").click();
    await opened.page.waitForSelector("dialog[open]");
    return opened;
  },
};

async function openAt(path: string): Promise<OpenPage> {
  const opened = await openPage(stage.browser);
  await opened.page.goto(`${stage.world.channel.url}${path}`);
  return opened;
}

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** Accessibility violations, one text each. */
async function violations(page: Page): Promise<string[]> {
  // evaluate() is not subject to the pages' policy, which blocks other scripts.
  await page.evaluate(AXE);
  const found = await page.evaluate<readonly Violation[]>(
    "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations)",
  );
  return found.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}\n  ${nodes.map((node) => node.html + node.failureSummary).join("\n  ")}`,
  );
}

describe.each(Object.keys(PAGES))("%s", (name) => {
  test("has no accessibility violations in both color schemes, and fits a phone", async () => {
    const opened = await (PAGES[name] ?? stage.admin)();
    const { page } = opened;
    await opened.watched(async () => {
      const backgrounds = new Set<string>();
      for (const [width, height] of [
        [1360, 900],
        [360, 740],
      ] as const) {
        await page.setViewportSize({ width, height });
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          backgrounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
          expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
          expect(await violations(page)).toEqual([]);
        }
      }
      expect(backgrounds.size).toBe(2);
    });
    await opened.close();
  }, 60_000);
});

test("no page is wider than its window, and no column of text is lost, from phone to desktop", async () => {
  const opened = await stage.admin();
  const { page } = opened;
  await opened.watched(async () => {
    for (const name of ["overview", "channels", "channel", "connections", "system", "audit", "tools"]) {
      await page.goto(
        `${stage.world.channel.url}/admin.html#/${name === "channel" ? "channels/room%3A1" : name}`,
      );
      await page.waitForSelector(`#page-${name}:not([hidden])`);
      for (const width of [360, 480, 768, 1024, 1280, 1920]) {
        await page.setViewportSize({ width, height: 800 });
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
        const narrow = await page.evaluate(() =>
          [...document.querySelectorAll<HTMLElement>(".viewport th.wide-cell")]
            .filter((each) => each.offsetParent !== null && each.offsetWidth < 70)
            .map((each) => `${each.textContent} has ${each.offsetWidth}px`),
        );
        expect({ name, width, narrow }).toEqual({ name, width, narrow: [] });
      }
    }
  });
  await opened.close();
}, 60_000);

describe("with the keyboard only", () => {
  test("join, push, and show a message", async () => {
    const opened = await stage.client("?name=alice");
    const { page } = opened;
    const pushes = await stage.world.backend.listenToPushes("keys");
    await opened.watched(async () => {
      await tabTo(page, "#join-name");
      await page.keyboard.type("keys");
      await page.keyboard.press("Enter");
      await page.locator(".joined .state", { hasText: "joined" }).nth(1).waitFor();
      for (let i = 0; i < 40; i++) await stage.world.backend.publish("to:keys:tick", `{"i":${i}}`);
      await page.locator(".message", { hasText: '{"i":39}' }).waitFor();
      await tabTo(page, "#stream-list");
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowDown");
      expect(await page.textContent("#stream-detail .json")).toContain("38");
      await page.keyboard.press("End");
      expect(await page.textContent("#stream-detail .json")).toContain("i: 0");
      // Scrolled into view.
      await page.locator('.message[aria-selected="true"]', { hasText: '{"i":0}' }).waitFor();
      await tabTo(page, "#event");
      await page.keyboard.press("Control+A");
      await page.keyboard.type("typed");
      await tabTo(page, "#send");
      await page.keyboard.press("Enter");
      expect((await pushes.next()).name).toBe("from:keys:typed");
    });
    await opened.close();
  });

  test("sign in, find a channel, kick a member, and sign out", async () => {
    const { world } = stage;
    const client = await world.connect();
    await client.join("keys:2", { token: world.token("keys:2") });
    const opened = await stage.admin();
    const { page } = opened;
    await opened.watched(async () => {
      await tabTo(page, 'a[data-page="channels"]');
      await page.keyboard.press("Enter");
      await tabTo(page, "#channels-search");
      await page.keyboard.type("keys:2");
      await page.waitForFunction(
        () => document.querySelectorAll("#channels tbody tr:not(.spacer):not([hidden])").length === 1,
      );
      await tabTo(page, "#channels tbody a");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#members td:has-text('alice')");
      await tabTo(page, '#members button[aria-label="Kick alice"]');
      await page.keyboard.press("Enter");
      await page.waitForSelector("dialog[open]");
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await client.event("phx_close");
      await tabTo(page, "#sign-out");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#sign-in-section:not([hidden])");
    });
    await opened.close();
  });
});

/** Presses Tab until the element has focus, and checks that the focus is visible. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press("Tab");
    const there = await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector);
    if (!there) continue;
    const outline = await page.evaluate(() => {
      const active = document.activeElement;
      return active === null ? "none" : getComputedStyle(active).outlineStyle;
    });
    expect(outline).not.toBe("none");
    return;
  }
  throw new Error(`Tab does not reach ${selector}`);
}

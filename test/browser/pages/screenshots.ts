/**
 * Screenshots of every page, light and dark, desktop and phone: `npx bun test/browser/pages/screenshots.ts FOLDER [NAME]`.
 * NAME: only pages whose name contains it.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { followMany } from "../../integration/followers.ts";
import { type OpenPage, openPage } from "../chromium.ts";
import { type Stage, startStage } from "./stage.ts";

const [folder = "screenshots", only = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const SIZES = { desktop: { width: 1360, height: 900 }, phone: { width: 390, height: 844 } } as const;

const stage = await startStage('[channelstream]\nsecret = "a secret of the screenshots"\n');
const stopTraffic = await startTraffic(stage);

const shots: Record<string, (stage: Stage) => Promise<OpenPage>> = {
  client: async () => {
    const opened = await stage.client("?name=alice");
    const { page } = opened;
    await page.fill("#join-name", "weather:wind");
    await page.press("#join-name", "Enter");
    await page.waitForSelector("#stream-list .message:nth-child(8)");
    await page.click("#send");
    await page.waitForSelector('#reply[data-state="good"]');
    return opened;
  },
  "client-json": async () => {
    const opened = await stage.client("?name=alice");
    const { page } = opened;
    await page.fill("#join-name", "weather:wind");
    await page.press("#join-name", "Enter");
    await page.waitForSelector("#stream-list .message:nth-child(8)");
    await page.click("#stream-pause");
    await page.locator(".message", { hasText: "reading" }).first().click();
    return opened;
  },
  "client-hex": async () => {
    const opened = await stage.client("?name=alice");
    const { page } = opened;
    await page.fill("#join-name", "weather:wind");
    await page.press("#join-name", "Enter");
    await page.waitForSelector("#stream-list .message:nth-child(8)");
    await page.click("#stream-pause");
    await page.fill("#stream-filter", "raster");
    await page.locator(".message", { hasText: "raster" }).first().click();
    return opened;
  },
  "client-rejected": async () => {
    const opened = await stage.client("?name=alice");
    const { page } = opened;
    await page.fill("#join-name", "admin");
    await page.press("#join-name", "Enter");
    await page.waitForSelector('.joined .state[data-state="bad"]');
    await page.fill("#join-name", "weather:wind");
    await page.press("#join-name", "Enter");
    await page.click("#disconnect");
    return opened;
  },
  "admin-sign-in": async () => {
    const opened = await openPage(stage.browser);
    await opened.page.goto(`${stage.world.channel.url}/admin.html`);
    await opened.page.waitForSelector("#sign-in-section:not([hidden])");
    await opened.page.fill("#secret", "a guess");
    await opened.page.press("#secret", "Enter");
    await opened.page.waitForSelector('#sign-in-error[data-state="bad"]');
    return opened;
  },
  "admin-overview": () => stage.admin(),
  "admin-system": () => stage.admin("#/system"),
  "admin-audit": () => stage.admin("#/audit"),
  "admin-channels": async () => {
    const opened = await stage.admin("#/channels");
    await opened.page.waitForSelector("#channels tbody tr:nth-child(9)");
    await opened.page.locator("#channels th button", { hasText: "Rate" }).click();
    await settled(opened.page, 2500);
    return opened;
  },
  "admin-channel": async () => {
    const opened = await stage.admin(`#/channels/${encodeURIComponent("weather:wind")}`);
    await opened.page.waitForSelector("#inspect-list .message:nth-child(6)");
    await opened.page.click("#inspect-pause");
    await opened.page.locator(".message", { hasText: "reading" }).first().click();
    await settled(opened.page, 2500);
    return opened;
  },
  "admin-connections": async () => {
    const opened = await stage.admin("#/connections");
    await opened.page.waitForSelector("#connections tbody tr:nth-child(9)");
    return opened;
  },
  "admin-actions": async () => {
    const opened = await stage.admin("#/tools");
    const { page } = opened;
    await page.fill("#disconnect-user", "mallory");
    await page.fill("#disconnect-ban", "1h");
    await page.press("#disconnect-ban", "Enter");
    await page.click("dialog .danger");
    await page.waitForSelector("#bans button");
    await page.click("#token button[type=submit]");
    await page.waitForSelector("#token-reply code");
    return opened;
  },
  "admin-confirm": async () => {
    const opened = await stage.admin("#/connections");
    await opened.page.locator("#connections tbody .buttons button").first().click();
    await opened.page.waitForSelector("dialog[open]");
    return opened;
  },
  explorer: async () => {
    const opened = await stage.admin();
    await opened.page.goto(`${stage.world.channel.url}/api-explorer`);
    await opened.page.waitForSelector(".operation");
    return opened;
  },
  "explorer-call": async () => {
    const opened = await stage.admin();
    await opened.page.goto(`${stage.world.channel.url}/api-explorer`);
    await opened.page.click("#postApiPublish > summary");
    await opened.page.click("#postApiPublish form button:has-text('Send')");
    await opened.page.waitForSelector('#postApiPublish .result .state[data-state="good"]');
    return opened;
  },
  docs: async () => {
    const opened = await openPage(stage.browser);
    await opened.page.goto(`${stage.world.channel.url}/docs/`);
    return opened;
  },
  "docs-search": async () => {
    const opened = await openPage(stage.browser);
    await opened.page.goto(`${stage.world.channel.url}/docs/fleet`);
    await opened.page.fill("#query", "presence");
    await opened.page.waitForSelector("#results a");
    return opened;
  },
};

for (const [name, open] of Object.entries(shots)) {
  if (!name.includes(only)) continue;
  const opened = await open(stage);
  for (const [size, viewport] of Object.entries(SIZES)) {
    await opened.page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"] as const) {
      await opened.page.emulateMedia({ colorScheme });
      await settled(opened.page, 300);
      const path = join(folder, `${name}-${size}-${colorScheme}.png`);
      // Phone: the whole page. Desktop: the viewport.
      await opened.page.screenshot({ path, fullPage: size === "phone" });
    }
  }
  for (const line of opened.console.all) console.log(`${name}: ${line}`);
  await opened.close();
  console.log(name);
}
stopTraffic();
await stage.stop();

/** Waits for animations and live charts, which have no event to wait for. */
function settled(page: Page, ms: number): Promise<void> {
  return page.waitForTimeout(ms);
}

/** Realistic traffic: many channels, users, rejections, and text and binary messages. */
async function startTraffic({ world }: Stage): Promise<() => void> {
  await followMany(world, "streaming-", 10_000);
  const timers: NodeJS.Timeout[] = [];
  const names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"];
  for (const id of names) {
    for (const channel of ["weather:wind", "room:1", `inbox:${id}`]) {
      const client = await world.connect();
      await client.join(channel, { token: world.token(channel, { id }) });
      if (channel === "room:1") {
        await client.join("secret", { token: world.token("room:1", { id }) });
        const typing = JSON.stringify(["1", null, "room:1", "typing", { by: id }]);
        timers.push(setInterval(() => client.sendText(typing), 900));
      }
    }
  }
  let n = 0;
  timers.push(
    setInterval(() => {
      n++;
      const reading = {
        station: `ST-${n % 40}`,
        wind: { speed: Math.round(Math.random() * 300) / 10, from: (n * 7) % 360, gusts: [12.1, 14.9, 11.3] },
        clear: n % 3 === 0,
        note: null,
      };
      void world.backend.publish("to:weather:wind:reading", JSON.stringify(reading));
      if (n % 3 === 0) {
        const bytes = Buffer.from(Array.from({ length: 240 }, (_, i) => (i * n) % 256));
        void world.backend.publish("to:weather:wind:raster", bytes);
      }
    }, 120),
    setInterval(() => {
      for (let i = 0; i < 400; i++) {
        const channel = String(Math.floor(Math.random() ** 3 * 10_000)).padStart(5, "0");
        void world.backend.publish(`to:streaming-${channel}:tick`, '{"count":3,"aircraft":[]}');
      }
      void world.backend.publish("to:nobody:here", "1");
      void world.backend.publish("to:broken", "1");
      void world.backend.publish("to:room:1:phx_join", "{}");
    }, 200),
  );
  // Fill the charts.
  await Bun.sleep(only === "" || only.startsWith("admin-o") ? 60_000 : 4000);
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}

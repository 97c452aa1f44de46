import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { channelBinary } from "../integration/channel-process.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/** A demo, started by its command. */
interface Demo {
  readonly url: string;
  stop(): Promise<void>;
}

async function startDemo(name: string): Promise<Demo> {
  const script = join(import.meta.dir, "../../examples", `channelstream-${name}`, "start.ts");
  const child = Bun.spawn([process.execPath, script, "--port", "0"], {
    env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "/", CHANNEL_BIN: channelBinary() },
    stdout: "pipe",
    stderr: "inherit",
  });
  process.on("exit", () => child.kill());
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(new TextDecoder().decode(value))?.[0];
  if (url === undefined) throw new Error("the demo printed no URL");
  return {
    url,
    async stop() {
      child.kill();
      await child.exited;
    },
  };
}

let browser: Browser;
let notifications: Demo;
let chat: Demo;
const open: OpenPage[] = [];
beforeAll(async () => {
  browser = await launchChromium();
  notifications = await startDemo("notifications");
  chat = await startDemo("chat");
});
afterAll(async () => {
  for (const each of open) await each.close();
  await browser.close();
  await notifications.stop();
  await chat.stop();
});

/** Opens the page as a user; `prepare` runs in it before the page's script. */
async function windowOf(demo: Demo, name: string, prepare?: () => void): Promise<OpenPage> {
  const opened = await openPage(browser);
  open.push(opened);
  if (prepare !== undefined) await opened.page.addInitScript(prepare);
  await opened.page.goto(`${demo.url}?name=${name}`);
  return opened;
}

/** Simulates a network that blocks WebSockets. */
function noSockets(): void {
  class Refused {
    onclose: ((event: { code: number; reason: string }) => void) | null = null;
    constructor() {
      setTimeout(() => this.onclose?.({ code: 1006, reason: "" }), 10);
    }
    close(): void {}
  }
  Object.assign(globalThis, { WebSocket: Refused });
}

function status(page: Page, text: string): Promise<void> {
  return page.locator("#status", { hasText: text }).waitFor({ timeout: 20_000 });
}

/** Submits a message. The page empties the form once the application has answered, which may be after the message arrives. */
async function submit(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
  await page.waitForFunction(
    () => document.querySelector<HTMLInputElement>("input[name=text]")?.value === "",
  );
}

async function notify(page: Page, text: string, to = ""): Promise<void> {
  await page.getByLabel("Recipient").fill(to);
  await submit(page, text);
}

test("a notification reaches all pages, and a private one only its user", async () => {
  const ann = await windowOf(notifications, "ann");
  const bob = await windowOf(notifications, "bob");
  await ann.watched(async () => {
    await status(ann.page, "websocket");
    await status(bob.page, "websocket");
    await notify(ann.page, "the build is green");
    await ann.page.locator("li", { hasText: "the build is green" }).waitFor();
    await bob.page.locator("li", { hasText: "the build is green" }).waitFor();
    await notify(ann.page, "only for bob", "bob");
    await bob.page.locator("li", { hasText: "only for bob from ann, private" }).waitFor();
    await notify(ann.page, "<b>and now</b> for all");
    await ann.page.locator("li", { hasText: "<b>and now</b> for all" }).waitFor();
    expect(await ann.page.locator("li", { hasText: "only for bob" }).count()).toBe(0);
  });
  const late = await windowOf(notifications, "late");
  await late.page.locator("li", { hasText: "the build is green" }).waitFor();
  expect(await late.page.locator("li", { hasText: "only for bob" }).count()).toBe(0);
});

test("notifications arrive by long polling if no WebSocket opens", async () => {
  const poll = await windowOf(notifications, "poll", noSockets);
  const ann = await windowOf(notifications, "ann");
  await poll.watched(async () => {
    await status(poll.page, "polling");
    await status(ann.page, "websocket");
    await notify(ann.page, "over long polling");
    await poll.page.locator("li", { hasText: "over long polling" }).waitFor();
    await notify(ann.page, "for the poller", "poll");
    await poll.page.locator("li", { hasText: "for the poller from ann, private" }).waitFor();
  });
});

test("a page whose socket is closed reconnects and shows missed messages", async () => {
  const ann = await windowOf(notifications, "lost", () => {
    const Socket = WebSocket;
    const sockets: WebSocket[] = [];
    Object.assign(globalThis, {
      sockets,
      WebSocket: class extends Socket {
        constructor(url: string) {
          super(url);
          sockets.push(this);
        }
      },
    });
  });
  const bob = await windowOf(notifications, "bob");
  await ann.watched(async () => {
    await status(ann.page, "websocket");
    await status(bob.page, "websocket");
    await ann.page.evaluate("sockets[0].close()");
    await notify(bob.page, "while you were away");
    await ann.page.locator("li", { hasText: "while you were away" }).waitFor();
    await status(ann.page, "websocket");
    expect(await ann.page.locator("li", { hasText: "while you were away" }).count()).toBe(1);
  });
});

test("a chat: messages, edits, deletions, channels, presence and state in two windows", async () => {
  const ann = await windowOf(chat, "ann");
  await ann.watched(async () => {
    await status(ann.page, "websocket");
    await submit(ann.page, "first");
    await ann.page.locator("#messages li", { hasText: "first" }).waitFor();
    const bob = await windowOf(chat, "bob");
    await bob.watched(async () => {
      await status(bob.page, "websocket");
      // History and presence.
      await bob.page.locator("#messages li", { hasText: "ann: first" }).waitFor();
      await bob.page.locator("#users li", { hasText: "ann" }).waitFor();
      await ann.page.locator("#users li", { hasText: "bob" }).waitFor();

      // Only authors can edit.
      expect(await bob.page.getByRole("button", { name: "edit" }).count()).toBe(0);
      ann.page.once("dialog", (dialog) => void dialog.accept("second thoughts"));
      await ann.page.getByRole("button", { name: "edit" }).click();
      await bob.page.locator("#messages li", { hasText: "second thoughts (edited)" }).waitFor();
      await ann.page.getByRole("button", { name: "delete" }).click();
      await bob.page.locator("#messages li", { hasText: "second thoughts" }).waitFor({ state: "detached" });

      // A channel that bob joins later.
      await ann.page.getByRole("button", { name: "# music" }).click();
      // The page changes to it once the application has answered.
      await ann.page.locator("button[aria-current=true]", { hasText: "# music" }).waitFor();
      await submit(ann.page, "a song");
      await ann.page.locator("#messages li", { hasText: "a song" }).waitFor();
      await bob.page.getByRole("button", { name: "# music" }).click();
      await bob.page.locator("#messages li", { hasText: "a song" }).waitFor();
      await ann.page.locator("#users li", { hasText: "bob" }).waitFor();
      await bob.page.getByRole("button", { name: "leave music" }).click();
      await ann.page.locator("#users li", { hasText: "bob" }).waitFor({ state: "detached" });

      // Public user state.
      await ann.page.getByRole("button", { name: "# general" }).click();
      await bob.page.getByLabel("away").check();
      await ann.page.locator("#users li.away", { hasText: "bob" }).waitFor();
      await bob.page.getByLabel("color").fill("rebeccapurple");
      await bob.page.getByLabel("color").blur();
      await ann.page.locator('#users li[style*="rebeccapurple"]').waitFor();

      // Presence ends when the page is closed.
      await bob.page.goto("about:blank");
      await ann.page.locator("#users li", { hasText: "bob" }).waitFor({ state: "detached" });
    });
    expect(ann.console.all.filter((line) => line.startsWith("uncaught"))).toEqual([]);
  });
});

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { Inbox, short } from "../integration/inbox.ts";

/** One frame of a page's WebSocket, as it was on the wire. */
export interface PageFrame {
  readonly direction: "sent" | "received";
  /** Address of the socket, with its query. */
  readonly socket: string;
  /** Text; a binary frame as base64 with `base64:` in front. */
  readonly data: string;
}

/** A page in a real browser, and everything that it said to servers. */
export interface OpenPage {
  readonly page: Page;
  /** Addresses of the WebSockets it opened, in order. */
  readonly sockets: readonly string[];
  readonly frames: Inbox<PageFrame>;
  /** What it printed: `console.log` and its like, and exceptions nobody caught. */
  readonly console: Inbox<string>;
  /** `METHOD address` of every request that reached loopback. */
  readonly requests: readonly string[];
  /** Runs a part of a test; keeps a picture of the page where that fails, and says where. */
  watched<T>(part: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Nothing but the pages of a test speaks to a network, and a container needs no sandbox of its own. */
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  // Pages draw maps by WebGL, and no test needs a graphics card.
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** The browser: `CHANNEL_TEST_CHROMIUM`, else the first one on the path. Throws a sentence where there is none. */
export function chromiumPath(): string {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const found = process.env.CHANNEL_TEST_CHROMIUM ?? names.map((name) => Bun.which(name)).find(Boolean);
  if (found === undefined || found === null) {
    throw new Error(`no browser: set CHANNEL_TEST_CHROMIUM, or install one of ${names.join(", ")}`);
  }
  return found;
}

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath(), args: ARGUMENTS });
}

/** A new page, with storage of its own, that reaches loopback only: a request for anything else fails. */
export async function openPage(browser: Browser): Promise<OpenPage> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const sockets: string[] = [];
  const requests: string[] = [];
  const frames = new Inbox<PageFrame>("page's frames", (each) => short(`${each.direction} ${each.data}`));
  const printed = new Inbox<string>("page's console", short);
  await page.route(
    (address) => !LOOPBACK.has(address.hostname),
    (route) => route.abort(),
  );
  page.on("console", (message) => printed.put(message.text()));
  page.on("pageerror", (error) => printed.put(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    if (LOOPBACK.has(new URL(request.url()).hostname)) requests.push(`${request.method()} ${request.url()}`);
  });
  page.on("websocket", (socket) => {
    const address = socket.url();
    const put =
      (direction: PageFrame["direction"]) =>
      ({ payload }: { payload: string | Buffer }) => {
        const data = typeof payload === "string" ? payload : `base64:${payload.toString("base64")}`;
        frames.put({ direction, socket: address, data });
      };
    sockets.push(address);
    socket.on("framesent", put("sent"));
    socket.on("framereceived", put("received"));
  });
  return {
    page,
    sockets,
    frames,
    console: printed,
    requests,
    watched: async (part) => {
      try {
        return await part();
      } catch (error) {
        const picture = join(mkdtempSync(join(tmpdir(), "channel-failed-")), "page.png");
        await page.screenshot({ path: picture }).catch(() => undefined);
        const said = printed.all.slice(-20).join("\n  ");
        console.error(`a picture of the page: ${picture}\nwhat it printed:\n  ${said}`);
        throw error;
      }
    },
    close: () => context.close(),
  };
}

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { Inbox, short } from "../integration/inbox.ts";

/** One WebSocket frame of a page. */
export interface PageFrame {
  readonly direction: "sent" | "received";
  /** URL of the socket, with its query. */
  readonly socket: string;
  /** Text; a binary frame is base64 with the prefix `base64:`. */
  readonly data: string;
}

/** A page in a real browser, with a record of its traffic. */
export interface OpenPage {
  readonly page: Page;
  /** URLs of the WebSockets it opened, in order. */
  readonly sockets: readonly string[];
  readonly frames: Inbox<PageFrame>;
  /** Console output and uncaught exceptions. */
  readonly console: Inbox<string>;
  /** `METHOD url` of every request to loopback. */
  readonly requests: readonly string[];
  /** Runs a part of a test; on failure saves a screenshot and prints its path and the console output. */
  watched<T>(part: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** No background network traffic; no sandbox, since tests run in containers. */
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  // Software rendering for pages that use WebGL.
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** Path of the browser: `CHANNEL_TEST_CHROMIUM`, otherwise the first one in PATH. Throws if there is none. */
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

/** A new page with its own storage. Requests to hosts other than loopback fail. */
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
        const output = printed.all.slice(-20).join("\n  ");
        console.error(`screenshot: ${picture}\nconsole:\n  ${output}`);
        throw error;
      }
    },
    close: () => context.close(),
  };
}

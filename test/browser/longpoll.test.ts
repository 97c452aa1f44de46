import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { eventually } from "../integration/phoenix-client.ts";
import { type Line, startLine } from "../integration/wild/line.ts";
import { startWorld, type World } from "../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/*
 * Long polling with phoenix.js in a real browser, on a page of another origin: with preflight requests, CORS and session
 * storage.
 */

/** A page of another origin; the query has the server, the token and the options of the socket. */
const PAGE = `<!doctype html>
<title>A page of another origin</title>
<script type="module">
const query = new URLSearchParams(location.search);
const server = query.get("server");
await new Promise((loaded) => {
  const script = document.createElement("script");
  script.src = server + "/phoenix.js";
  script.onload = loaded;
  document.head.append(script);
});
const options = JSON.parse(query.get("options"));
if (query.get("transport") === "longpoll") options.transport = Phoenix.LongPoll;
const socket = new Phoenix.Socket(server.replace("http", "ws") + "/websocket", options);
socket.onOpen(() => console.log("open", socket.transport === WebSocket ? "WebSocket" : "LongPoll"));
socket.onClose(({ code }) => console.log("close", code));
socket.connect();
const channel = socket.channel("far", query.has("token") ? { token: query.get("token") } : {});
channel.join()
  .receive("ok", () => console.log("joined"))
  .receive("error", ({ reason }) => console.log("refused", reason));
channel.on("news", (news) => console.log("news", JSON.stringify(news)));
window.push = (event, payload) => new Promise((resolve) =>
  channel.push(event, payload).receive("ok", () => resolve("ok")).receive("error", ({ reason }) => resolve(reason)));
window.memory = () => Object.fromEntries(Object.keys(sessionStorage).map((key) => [key, sessionStorage.getItem(key)]));
</script>
`;

describe("a page of another origin", () => {
  let world: World;
  let site: ReturnType<typeof Bun.serve>;
  let browser: Browser;
  let line: Line;
  const opened: OpenPage[] = [];

  beforeAll(async () => {
    site = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(PAGE, { headers: { "content-type": "text/html" } }),
    });
    world = await startWorld("redis", { toml: `allowed_origins = ["http://127.0.0.1:${site.port}"]\n` });
    line = await startLine(world.channel.port);
    browser = await launchChromium();
  }, 30_000);

  afterAll(async () => {
    for (const open of opened) await open.close();
    await browser?.close();
    line?.stop();
    await world?.stop();
    await site?.stop(true);
  }, 20_000);

  const visit = async (
    server: string,
    options: object,
    more: Readonly<Record<string, string>> = {},
  ): Promise<OpenPage> => {
    const open = await openPage(browser);
    opened.push(open);
    const query = new URLSearchParams({ server, options: JSON.stringify(options), ...more });
    await open.page.goto(`http://127.0.0.1:${site.port}/?${query}`);
    return open;
  };

  /** Waits for the join, and checks both directions. */
  const works = async (open: OpenPage, sign: string): Promise<void> => {
    await open.console.until((text) => text === "joined", "its join");
    const pushes = await world.backend.listen("from:far:pushed");
    expect(await open.page.evaluate(`push("pushed", ${JSON.stringify({ sign })})`)).toBe("ok");
    expect((await pushes.next()).payload.toString()).toBe(JSON.stringify({ sign }));
    await world.backend.publish("to:far:news", JSON.stringify(sign));
    await open.console.until((text) => text === `news "${sign}"`, "the news");
  };

  test("polls with the token in the join, in the params, and as authToken in a header that CORS must allow", async () => {
    const token = world.token("far");
    const ways: readonly (readonly [object, Readonly<Record<string, string>>])[] = [
      [{}, { token }],
      [{ params: { token } }, {}],
      [{ authToken: token }, {}],
    ];
    for (const [i, [options, more]] of ways.entries()) {
      const open = await visit(world.channel.url, options, { ...more, transport: "longpoll" });
      await open.watched(() => works(open, `way ${i}`));
      expect(open.sockets).toEqual([]);
      const bytes = await open.page.evaluate(`push("bytes", new Uint8Array([0, 255, 7]).buffer)`);
      expect(bytes).toBe("ok");
      expect(open.console.all.filter((text) => /CORS|blocked|uncaught/i.test(text))).toEqual([]);
      await open.close();
    }
  });

  test("falls back to polling if WebSockets are blocked, and remembers it for the session", async () => {
    line.refuseUpgrades(true);
    const open = await visit(line.url, { longPollFallbackMs: 1500 }, { token: world.token("far") });
    await open.watched(async () => {
      expect(await open.console.until((text) => text.startsWith("open"), "a connection")).toBe(
        "open LongPoll",
      );
      await works(open, "fallen back");
      expect(open.sockets.length).toBe(1);
      await eventually(
        async () =>
          JSON.stringify(await open.page.evaluate("memory()")) === '{"phx:fallback:LongPoll":"true"}',
        "the stored fallback",
      );
      open.console.take();
      await open.page.reload();
      await works(open, "remembered");
      // No second attempt.
      expect(open.sockets.length).toBe(1);
    });
  });

  test("falls back if a WebSocket opens but transfers nothing: its ping times out", async () => {
    line.refuseUpgrades(false);
    line.muteWebSockets(true);
    // Longer than a busy browser needs to open it.
    const open = await visit(line.url, { longPollFallbackMs: 5000 }, { token: world.token("far") });
    await open.watched(async () => {
      expect(await open.console.until((text) => text.startsWith("open"), "a connection")).toBe(
        "open WebSocket",
      );
      expect(await open.console.until((text) => text === "open LongPoll", "the fallback")).toBe(
        "open LongPoll",
      );
      await works(open, "after the ping");
    });
    line.muteWebSockets(false);
  });

  test("keeps a working WebSocket, and stores nothing", async () => {
    // Longer than a busy browser needs for its first answer.
    const open = await visit(line.url, { longPollFallbackMs: 5000 }, { token: world.token("far") });
    await open.watched(async () => {
      await works(open, "as it should be");
      await Bun.sleep(5500);
      expect(await open.page.evaluate(`push("pushed", {})`)).toBe("ok");
      expect(open.console.all.filter((text) => text.startsWith("open"))).toEqual(["open WebSocket"]);
      expect(await open.page.evaluate("memory()")).toEqual({});
    });
  });

  test("with a rejected origin is not connected, over either transport, and does not retry in a tight loop", async () => {
    for (const transport of ["websocket", "longpoll"]) {
      const address = world.channel.url.replace("127.0.0.1", "localhost");
      const foreign = Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: () => new Response(PAGE, { headers: { "content-type": "text/html" } }),
      });
      const open = await openPage(browser);
      opened.push(open);
      const query = new URLSearchParams({
        server: address,
        options: "{}",
        transport,
        token: world.token("far"),
      });
      await open.page.goto(`http://127.0.0.1:${foreign.port}/?${query}`);
      const attempts = () =>
        open.sockets.length + open.requests.filter((request) => request.includes("/longpoll")).length;
      await eventually(() => attempts() > 0, "an attempt");
      await Bun.sleep(1500);
      expect(open.console.all.filter((text) => /^(open|joined)/.test(text))).toEqual([]);
      expect(attempts()).toBeLessThan(14);
      await open.close();
      await foreign.stop(true);
    }
  });
});

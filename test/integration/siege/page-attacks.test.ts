import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { launchChromium } from "../../browser/chromium.ts";
import { labelled, readMetrics } from "../../soak/samples.ts";
import { startWorld, type World } from "../world.ts";

/**
 * A page of another website, in a real browser on the operator's machine. All of this comes from loopback, which
 * proves nothing.
 */
let world: World;
let browser: Browser;
let website: Bun.Server<undefined>;
beforeAll(async () => {
  const html = '<!doctype html><iframe sandbox="allow-scripts" srcdoc="<title>evil</title>"></iframe>';
  website = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(html, { headers: { "content-type": "text/html" } }),
  });
  [world, browser] = await Promise.all([startWorld("embedded"), launchChromium()]);
}, 30_000);
afterAll(async () => {
  await browser?.close();
  await website?.stop(true);
  await world?.stop();
});

/** Everything that a page can try against one port of this machine. Returns the result of each try. */
async function attack({ port, command }: { port: number; command: string }): Promise<Record<string, string>> {
  const base = `http://127.0.0.1:${port}`;
  const asked = (path: string, init: RequestInit = {}): Promise<string> =>
    fetch(base + path, { ...init, signal: AbortSignal.timeout(3000) }).then(
      async (response) => `${response.type} ${response.status} ${await response.text()}`,
      () => "nothing",
    );
  const socket = (path: string): Promise<string> =>
    new Promise((resolve) => {
      const opening = new WebSocket(`ws://127.0.0.1:${port}${path}`);
      opening.onopen = () => resolve("open");
      opening.onerror = () => resolve("nothing");
    });
  return {
    "no-cors": await asked("/", { method: "POST", mode: "no-cors", body: command }),
    "no-cors token": await asked("/token", { method: "POST", mode: "no-cors", body: '{"channel":"room"}' }),
    cors: await asked("/token", { method: "POST", body: '{"channel":"room"}' }),
    json: await asked("/api/publish", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"channel":"room","event":"evil","payload":1}',
    }),
    "no-cors publish": await asked("/api/publish", {
      method: "POST",
      mode: "no-cors",
      body: '{"channel":"room","event":"evil","payload":1}',
    }),
    poll: await asked("/longpoll?vsn=2.0.0"),
    metrics: await asked("/metrics"),
    websocket: await socket("/websocket?vsn=2.0.0"),
    groups: await socket("/groups"),
  };
}

test("reads nothing, publishes nothing and opens no socket, at our port and at that of the embedded bus", async () => {
  const client = await world.connect();
  await client.join("room", { token: world.token("room") });
  const where = world.channel.lines.find(({ message }) => message.includes("using the embedded bus"))?.where;
  const bus = Number(/:(\d+)$/.exec(String(where))?.[1]);
  const command = "*3\r\n$7\r\nPUBLISH\r\n$12\r\nto:room:evil\r\n$1\r\n1\r\n";
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${website.port}/`);
  // Browsers block public websites from loopback; a local page has no such limit. In a sandbox its origin is null.
  const frame = page.frames()[1];
  if (frame === undefined) throw new Error("the page has no frame");
  for (const port of [world.channel.port, bus]) {
    const got = await frame.evaluate(attack, { port, command });
    for (const [how, answer] of Object.entries(got)) {
      // For a request without preflight the page sees neither status nor body.
      expect([how, answer]).toEqual([how, expect.stringMatching(/^(nothing|opaque 0 )$/)]);
    }
  }
  await world.backend.publish("to:room:good", "1");
  await client.event("good");
  expect(client.frames.all.filter((each) => each.event === "evil")).toEqual([]);
  // The requests arrived: the server refused them.
  const refused = labelled(await readMetrics(world.channel.url), "channel_refused_total", "http_403");
  expect(refused).toBeGreaterThanOrEqual(3);
  await context.close();
}, 60_000);

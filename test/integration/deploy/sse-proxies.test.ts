import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import { launchChromium } from "../../browser/chromium.ts";
import { type ChannelProcess, startChannel } from "../channel-process.ts";
import { Inbox, short } from "../inbox.ts";
import { eventually } from "../phoenix-client.ts";
import { findPython } from "../python.ts";
import { freePort, type RedisProcess, startRedis } from "../redis-process.ts";
import { SseParser } from "../sse-client.ts";
import { type Backend, backendOn } from "../world.ts";
import { type FrontProxy, startProxy } from "./proxy.ts";

/*
 * Event streams through the configurations of deploy/ as they are, in front of two servers on one Redis.
 */

const SECRET = "a-long-secret-that-nobody-could-guess";

/** Reads a stream by httpx, prints each event as a line, and comes back by its last id. */
const HTTPX = `
import httpx, json, sys, time
url, last = sys.argv[1], ""
with httpx.Client(verify=False, timeout=30) as client:
    while True:
        headers = {"last-event-id": last} if last else {}
        try:
            with client.stream("GET", url, headers=headers) as answer:
                block = {}
                for line in answer.iter_lines():
                    if line.startswith(":"):
                        continue
                    if line:
                        name, _, value = line.partition(": ")
                        block[name] = block.get(name, "") + value
                    elif block:
                        last = block.get("id", last)
                        if "data" in block:
                            print(json.dumps([block.get("event", "message"), json.loads(block["data"])]), flush=True)
                        block = {}
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
`;

interface Streamed {
  readonly events: Inbox<readonly [event: string, data: Readonly<Record<string, unknown>>]>;
  stop(): Promise<void>;
}

interface Publishing {
  newest(): number;
  stop(): void;
}

/** Publishes numbers, from 1, until stopped. */
function publishNumbers(topic: string): Publishing {
  let n = 0;
  const timer = setInterval(() => void backend.publish(topic, `${++n}`).catch(() => {}), 20);
  return { newest: () => n, stop: () => clearInterval(timer) };
}

let redis: RedisProcess;
let servers: ChannelProcess[];
let backend: Backend;
let browser: Browser;

const start = (port = freePort()) =>
  startChannel({
    port,
    toml: `jwt_secret = "${SECRET}"\nredis_url = "${redis.url}"\nbus = "redis"\ntrusted_proxies = ["127.0.0.1"]\n[channels."kept:*"]\nhistory = 2000\n[channels."stored:*"]\nhistory = 2000\nhistory_store = "redis"\n`,
  });

beforeAll(async () => {
  redis = await startRedis();
  backend = backendOn(redis.port);
  servers = [await start(), await start()];
  browser = await launchChromium();
}, 60_000);

afterAll(async () => {
  await browser?.close();
  backend?.stop();
  for (const server of servers ?? []) await server.stop();
  await redis?.stop();
});

const inboxOf = (name: string): Streamed["events"] => new Inbox(name, (each) => short(JSON.stringify(each)));

/** EventSource in a page of the server behind the proxy. */
async function eventSource(proxy: FrontProxy, path: string): Promise<Streamed> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const events = inboxOf(`EventSource ${path}`);
  await page.exposeFunction("put", (event: string, data: string) => {
    events.put([event, data === "" ? {} : JSON.parse(data)]);
  });
  // A page without connections of its own.
  await page.goto(`${proxy.url}/health`);
  await page.evaluate((address) => {
    const { put } = window as unknown as { put(event: string, data: string): void };
    const source = new EventSource(address);
    for (const event of ["message", "ready", "gap", "closed"]) {
      source.addEventListener(event, ({ data }) => put(event, data));
    }
    source.onerror = () => put(source.readyState === EventSource.CLOSED ? "gave up" : "error", "");
  }, path);
  return { events, stop: () => context.close() };
}

function curl(proxy: FrontProxy, path: string): Streamed {
  const events = inboxOf(`curl ${path}`);
  const parser = new SseParser(({ event, data }) => events.put([event, JSON.parse(data)]));
  const child = Bun.spawn(["curl", "-skN", `${proxy.url}${path}`], { stdout: "pipe", stderr: "ignore" });
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const part of child.stdout) parser.add(decoder.decode(part, { stream: true }));
  })();
  return {
    events,
    stop: async () => {
      child.kill();
      await reading;
    },
  };
}

function httpx(proxy: FrontProxy, path: string): Streamed {
  const events = inboxOf(`httpx ${path}`);
  const child = Bun.spawn([findPython("httpx"), "-c", HTTPX, `${proxy.url}${path}`], {
    stdout: "pipe",
    stderr: "ignore",
  });
  const reading = (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const part of child.stdout) {
      const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) events.put(JSON.parse(line));
    }
  })();
  return {
    events,
    stop: async () => {
      child.kill();
      await reading;
    },
  };
}

for (const name of ["nginx", "caddy"] as const) {
  describe(`event streams behind ${name}`, () => {
    let proxy: FrontProxy;
    beforeAll(async () => {
      proxy = await startProxy(
        name,
        servers.map(({ port }) => port),
      );
    }, 30_000);
    afterAll(async () => {
      await proxy?.stop();
    });

    const CLIENTS = {
      EventSource: eventSource,
      "curl -N": async (to: FrontProxy, path: string) => curl(to, path),
      httpx: async (to: FrontProxy, path: string) => httpx(to, path),
    };
    test.each(Object.entries(CLIENTS))(
      "%s gets each message at once",
      async (_, connect) => {
        const client = await connect(proxy, "/sse?channel=plain");
        try {
          await client.events.until(([event]) => event === "ready", "ready");
          for (let n = 1; n <= 5; n++) {
            await backend.publish("to:plain:e", `${n}`);
            // The next one is published only when this one has arrived: nothing waits for more.
            expect((await client.events.next())[1]).toEqual({ channel: "plain", event: "e", payload: n });
          }
        } finally {
          await client.stop();
        }
      },
      30_000,
    );

    // The history of a server begins with its start: clients must not come to a new one with an older position, unless
    // the history is in Redis.
    test.each([
      ["the other one is ready first", "kept"],
      ["the history is in Redis", "stored"],
    ])(
      "EventSource and httpx lose nothing while one server after the other restarts, and %s",
      async (_, kind) => {
        const channel = `${kind}:${name}`;
        const path = `/sse?channel=${channel}`;
        const clients = [
          await eventSource(proxy, path),
          await eventSource(proxy, path),
          httpx(proxy, path),
          httpx(proxy, path),
        ];
        /** Each client has got what is published from now on. */
        const allFollow = async (publishing: Publishing) => {
          const target = publishing.newest() + 1;
          for (const { events } of clients) {
            await eventually(
              () => events.all.some(([event, { payload }]) => event === "message" && payload === target),
              "the message",
              20_000,
            );
          }
        };
        for (const client of clients) await client.events.until(([event]) => event === "ready", "ready");
        const publishing = publishNumbers(`to:${channel}:e`);
        try {
          for (const at of [0, 1, 0]) {
            const server = servers[at];
            if (server === undefined) throw new Error("no server");
            await server.stop();
            if (kind === "kept") await allFollow(publishing);
            servers[at] = await start(server.port);
            await allFollow(publishing);
          }
          publishing.stop();
          for (const { events } of clients) {
            const numbers = () =>
              events.all.filter(([event]) => event === "message").map(([, { payload }]) => payload);
            await eventually(() => numbers().at(-1) === publishing.newest(), "the last message", 20_000);
            expect(events.all.some(([event]) => event === "gap" || event === "gave up")).toBe(false);
            expect(numbers()).toEqual(Array.from({ length: publishing.newest() }, (_, i) => i + 1));
          }
          expect(clients.some(({ events }) => events.all.some(([event]) => event === "closed"))).toBe(true);
        } finally {
          publishing.stop();
          for (const client of clients) await client.stop();
        }
      },
      120_000,
    );

    test("a client that leaves is gone", async () => {
      const listeners = async () => {
        let count = 0;
        for (const { url } of servers) {
          const answer = await fetch(`${url}/metrics`, { headers: { "x-forwarded-for": "127.0.0.1" } });
          count += Number(/channel_listeners\{protocol="sse"\} (\d+)/.exec(await answer.text())?.[1]);
        }
        return count;
      };
      await eventually(async () => (await listeners()) === 0, "no listener of the tests before");
      const client = curl(proxy, "/sse?channel=plain");
      await client.events.until(([event]) => event === "ready", "ready");
      expect(await listeners()).toBe(1);
      await client.stop();
      await eventually(async () => (await listeners()) === 0, "no listener");
    }, 30_000);

    test("EventSource gives up at a refusal for good", async () => {
      const client = await eventSource(proxy, "/sse?channel=admin");
      try {
        expect((await client.events.next())[0]).toBe("gave up");
      } finally {
        await client.stop();
      }
    }, 30_000);
  });
}

test("EventSource comes back after a refusal that passes", async () => {
  const server = await startChannel({
    toml: `jwt_secret = "${SECRET}"\nbus = "embedded"\ntrusted_proxies = ["127.0.0.1"]\n[limits]\nmax_connections = 1\n`,
  });
  const proxy = await startProxy("nginx", [server.port]);
  const holder = curl(proxy, "/sse?channel=a");
  await holder.events.until(([event]) => event === "ready", "ready");
  const client = await eventSource(proxy, "/sse?channel=a");
  try {
    const [, data] = await client.events.until(([event]) => event === "closed", "closed");
    expect(data).toMatchObject({ code: "too_many_connections" });
    await holder.stop();
    await client.events.until(([event]) => event === "ready", "ready", 30_000);
  } finally {
    await client.stop();
    await proxy.stop();
    await server.stop();
  }
}, 60_000);

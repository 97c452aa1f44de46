import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { channelBinary } from "../integration/channel-process.ts";
import type { Inbox } from "../integration/inbox.ts";
import { connectPhoenix, eventually, mint } from "../integration/phoenix-client.ts";
import { findPython } from "../integration/python.ts";
import { type RedisProcess, startRedis } from "../integration/redis-process.ts";
import { outputOf, type Program, startProgram } from "../integration/tangram/program.ts";
import { BUSES, backendOn, type Heard, startWorld, type World } from "../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/*
 * Runs the code blocks of Tangram's page about its Channel service (docs/architecture/channel.md of
 * open-aviation/tangram) unchanged, except for ports and what a block assumes (a token, an event loop).
 */

const JAVASCRIPT = `
// Connect to the WebSocket
const socket = new Phoenix.Socket("/websocket", {
  params: { userToken: token },
});
socket.connect();

// Join a channel
const channel = socket.channel("system", { token: systemToken });
channel
  .join()
  .receive("ok", (response) => console.log("Joined successfully", response))
  .receive("error", (response) => console.log("Join failed", response));

// Listen for events
channel.on("datetime", (payload) => {
  console.log("Current time:", payload.response.datetime);
});

// Send events
channel.push("custom_event", { message: "Hello from client" });
`;

const PYTHON = `
import redis
import json

r = redis.Redis()

# Send message to frontend clients
await r.publish('to:system:update', json.dumps({
    'type': 'message',
    'message': 'Update from backend'
}))

# Listen for messages from frontend
p = r.pubsub()
await p.psubscribe('from:system:*')
async for message in p.listen():
    if message['type'] == 'pmessage':
        print(f"Received: {message['data']}")
`;

const CURL = `
curl -X POST http://localhost:2347/token \\
  -H "Content-Type: application/json" \\
  -d '{"channel": "system", "id": "client1"}'
`;

const LISTEN_FROM = `redis-cli psubscribe "from:*"`;
const LISTEN_TO = `redis-cli psubscribe "to:*"`;
const PUBLISH = `redis-cli publish "to:system:test" '{"type":"message","message":"Test from Redis"}'`;

const TOML = `
[channel]
host = "127.0.0.1"
port = 2347
# The public-facing URL for the channel service.
# Required when running behind a reverse proxy.
# public_url = "http://localhost:2347"
jwt_secret = "a-better-secret-than-this"
`;

/** The documented command of the standalone service. */
const COMMAND = "channel --redis-url redis://localhost:6379 --jwt-secret your-secret-key";

/** A page with the client, two tokens, and the block. */
const PAGE = `<!doctype html>
<title>A page</title>
<script src="/phoenix.js"></script>
<script type="module">
const ask = async (channel) => {
  const headers = { "content-type": "application/json" };
  const answer = await fetch("/token", { method: "POST", headers, body: JSON.stringify({ channel, id: "client1" }) });
  return (await answer.json()).token;
};
const token = await ask("system");
const systemToken = await ask("system");
${JAVASCRIPT}
</script>
`;

const UPDATE = `[null,null,"system","update",{"type": "message", "message": "Update from backend"}]`;
const TEST = `[null,null,"system","test",{"type":"message","message":"Test from Redis"}]`;
const DATA = `[null,null,"system","update","data"]`;

describe.each(BUSES)("the documented blocks, with the %s bus", (bus) => {
  let folder: string;
  let world: World;
  let events: Inbox<Heard>;
  let browser: Browser;
  let open: OpenPage;
  let busPort: number;
  let joined: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "channel-documentation-"));
    writeFileSync(join(folder, "index.html"), PAGE);
    world = await startWorld(bus, { args: ["--static-path", folder] });
    browser = await launchChromium();
    busPort = world.backend.redis.options.port ?? 0;
    events = await world.backend.listen("from:*");
    open = await openPage(browser);
    await open.page.goto(`${world.channel.url}/`);
    joined = await open.watched(() => open.console.until((line) => line.startsWith("Join"), "the join"));
  }, 30_000);

  afterAll(async () => {
    await browser?.close();
    await world?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 20_000);

  const received = (frame: string): Promise<unknown> =>
    open.frames.until((each) => each.direction === "received" && each.data === frame, frame);

  /** Reloads the page and waits for its join. */
  const reload = async (): Promise<void> => {
    open.console.take();
    await open.page.reload();
    await open.console.until((line) => line.startsWith("Joined successfully"));
  };

  test("in a browser: joins, receives the clock, and its event reaches backends", () =>
    open.watched(async () => {
      expect(joined).toMatch(/^Joined successfully \{id: [\w-]+:system:\d+\}$/);
      const time = await open.console.until((line) => line.startsWith("Current time: "), "the clock");
      expect(time).toMatch(/^Current time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/);
      const event = await events.until((each) => each.name === "from:system:custom_event", "the event");
      expect(event.payload.toString()).toBe(`{"message":"Hello from client"}`);
      expect(open.sockets.map((each) => each.replace(/=ey[^&]+/, "=ey"))).toEqual([
        `${world.channel.url.replace("http", "ws")}/websocket/websocket?userToken=ey&vsn=2.0.0`,
      ]);
    }));

  test("with curl: a token that can join the channel", async () => {
    const answer: unknown = JSON.parse(
      await outputOf(["bash", "-ec", CURL.replace("localhost:2347", `localhost:${world.channel.port}`)]),
    );
    expect(answer).toEqual({ id: "client1", channel: "system", token: expect.any(String) });
    if (typeof answer !== "object" || answer === null || !("token" in answer)) throw new Error("no token");
    const client = await connectPhoenix(world.channel.url);
    expect((await client.join("system", { token: answer.token })).status).toBe("ok");
    await client.socket.close();
  });

  test("with Python: an update to the browser, and an event from it", () =>
    open.watched(async () => {
      // The block uses await: it needs the asyncio client and a coroutine.
      const block = PYTHON.replace("import redis\n", "import redis.asyncio as redis\n")
        .replace("redis.Redis()", `redis.Redis(port=${busPort})`)
        .replaceAll("\n", "\n    ");
      const script = `import asyncio\nasync def main():\n    ${block}\nasyncio.run(main())\n`;
      const patterns = async (): Promise<number> =>
        Number(await world.backend.redis.call("PUBSUB", "NUMPAT"));
      const before = await patterns();
      const program = startProgram([findPython("redis"), "-u", "-c", script]);
      try {
        await received(UPDATE);
        await eventually(async () => (await patterns()) > before, "another pattern");
        await reload();
        await program.lines.until((line) => line === `Received: b'{"message":"Hello from client"}'`);
      } finally {
        await program.stop();
      }
    }));

  test("with redis-cli: both directions are received, and a message reaches the browser", () =>
    open.watched(async () => {
      const tools = toolsOn(busPort);
      const env = { PATH: `${tools}:${process.env.PATH}` };
      const cli = (block: string): Program => startProgram(["bash", "-c", block], { env });
      const from = cli(LISTEN_FROM);
      const to = cli(LISTEN_TO);
      try {
        await Promise.all([from, to].map((each) => each.lines.until((line) => line === "psubscribe")));
        await reload();
        await from.lines.until((line) => line === "from:system:custom_event");
        expect(await from.lines.next()).toBe(`{"message":"Hello from client"}`);

        expect(Number(await outputOf(["bash", "-ec", PUBLISH], { env }))).toBeGreaterThan(0);
        await received(TEST);
        await to.lines.until((line) => line === "to:system:test");
        expect(await to.lines.next()).toBe(`{"type":"message","message":"Test from Redis"}`);
        // The page's first diagram: PUBLISH to:system:update, "data".
        await outputOf(["redis-cli", "publish", "to:system:update", '"data"'], { env });
        await received(DATA);
      } finally {
        await Promise.all([from.stop(), to.stop()]);
        rmSync(tools, { recursive: true, force: true });
      }
    }));
});

describe("the documented ways to start it", () => {
  let redis: RedisProcess;
  let folder: string;

  beforeAll(async () => {
    redis = await startRedis();
    folder = mkdtempSync(join(tmpdir(), "channel-documentation-"));
  });

  afterAll(async () => {
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Joins `system` with a token signed with a secret, and receives a message from a backend. */
  const serves = async (program: Program, secret: string): Promise<void> => {
    const backend = backendOn(redis.port);
    try {
      const client = await connectPhoenix(await addressIn(program));
      const joined = await client.join("system", {
        token: mint({ id: "client1", channel: "system" }, secret),
      });
      expect(joined.status).toBe("ok");
      await backend.publish("to:system:update", `"data"`);
      expect((await client.event("update")).payload).toBe("data");
      await client.socket.close();
    } finally {
      backend.stop();
      await program.stop();
    }
  };

  test("the command line starts the server, and a token signed with its secret can join", async () => {
    symlinkSync(channelBinary(), join(folder, "channel"));
    const env = { PATH: `${folder}:${process.env.PATH}`, CHANNEL_PORT: "0" };
    const command = COMMAND.replace("6379", String(redis.port));
    await serves(startProgram(["bash", "-c", command], { env, cwd: folder }), "your-secret-key");
  });

  test("the tangram.toml is accepted unchanged", async () => {
    writeFileSync(join(folder, "tangram.toml"), TOML.replace("2347", "0"));
    const env = { CHANNEL_REDIS_URL: redis.url };
    await serves(startProgram([channelBinary()], { env, cwd: folder }), "a-better-secret-than-this");
  });
});

/** A folder with a `redis-cli` that uses another default port. */
function toolsOn(port: number): string {
  const folder = mkdtempSync(join(tmpdir(), "channel-tools-"));
  const file = join(folder, "redis-cli");
  writeFileSync(file, `#!/bin/sh\nexec ${Bun.which("redis-cli") ?? "redis-cli"} -p ${port} "$@"\n`);
  chmodSync(file, 0o755);
  return folder;
}

/** The URL from the output of a server. */
async function addressIn(program: Program): Promise<string> {
  const address = /http:\/\/127\.0\.0\.1:\d+/;
  const line = await program.lines.until((each) => address.test(each), "its URL");
  return address.exec(line)?.[0] ?? "";
}

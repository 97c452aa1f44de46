import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Channel, Presence, Socket } from "phoenix";
import { type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { Inbox, short } from "./inbox.ts";
import { blocksOf, blockWith, commandWith } from "./page-blocks.ts";
import { connectPhoenix, eventually, mint, type PhoenixClient } from "./phoenix-client.ts";
import { findPython } from "./python.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";
import { SECRETS_TOML, startReloading } from "./reloading.ts";
import { outputOf, type Program, startProgram } from "./tangram/program.ts";
import { backendOn, SECRET } from "./world.ts";

/* Runs the code blocks of the pages about one task each. Only addresses are replaced. */

const ROOT = join(import.meta.dir, "../..");
const KEY = "replace-by-openssl-rand-base64-32";

let redis: RedisProcess;
let channel: ChannelProcess;
/** Where `channel` is a command, Node finds express and jose, and channel.toml is that of the page. */
let folder: string;
let programs: Program[] = [];
let clients: PhoenixClient[] = [];
let sockets: Socket[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  for (const socket of sockets) socket.disconnect();
  for (const client of clients) client.socket.cut();
  for (const program of programs) await program.stop();
  [sockets, clients, programs] = [[], [], []];
});
afterAll(async () => {
  await redis?.stop();
});

/** Starts the server with the configuration of a page before the tests of a group. */
function serveAs(page: string): void {
  beforeAll(async () => {
    const cache = join(ROOT, "node_modules/.cache");
    mkdirSync(cache, { recursive: true });
    folder = mkdtempSync(join(cache, "task-pages-"));
    symlinkSync(channelBinary(), join(folder, "channel"));
    writeFileSync(join(folder, "channel.toml"), blockWith(page, "toml", "channel.toml"), { mode: 0o600 });
    channel = await startChannel({ cwd: folder, args: ["--bus", "redis", "--redis-url", redis.url] });
  });
  afterAll(async () => {
    await channel?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
}

function here(text: string): string {
  return text
    .replaceAll("127.0.0.1:2025", new URL(channel.url).host)
    .replaceAll("redis-cli", `redis-cli -p ${redis.port}`);
}

const environment = (env: Readonly<Record<string, string>> = {}) => ({
  PATH: `${folder}:${dirname(findPython("jwt"))}:${process.env.PATH ?? ""}`,
  KEY,
  ...env,
});

/** The output of a command of a page. */
function run(command: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  return outputOf(["sh", "-eu", "-c", here(command)], { cwd: folder, env: environment(env) });
}

function start(command: string, env: Readonly<Record<string, string>> = {}): Program {
  const program = startProgram(["sh", "-c", `exec ${here(command)}`], {
    cwd: folder,
    env: environment(env),
  });
  programs.push(program);
  return program;
}

/** A command with redis-cli that subscribes; resolves when Redis has the subscription. */
async function subscribe(command: string): Promise<Program> {
  const program = start(command);
  await program.lines.until((line) => line === "psubscribe", "the subscription");
  return program;
}

async function connect(): Promise<PhoenixClient> {
  const client = await connectPhoenix(channel.url);
  clients.push(client);
  return client;
}

/** The claims of a token. */
function claimsOf(token: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
}

/** Runs a block of a page as its browser would, with what the page says is there; collects what it shows. */
async function browse(code: string, values: Readonly<Record<string, unknown>>): Promise<Inbox<unknown>> {
  const shown = new Inbox<unknown>("the page", (item) => short(JSON.stringify(item)));
  class Watched extends Socket {
    constructor(...args: ConstructorParameters<typeof Socket>) {
      super(...args);
      sockets.push(this);
    }
  }
  const scope = {
    Phoenix: { Socket: Watched, Presence },
    show: (item: unknown) => shown.put(item),
    // The page renews its token after half an hour.
    setInterval: () => 0,
    ...values,
  };
  const page = new Function(...Object.keys(scope), `return (async () => {${here(code)}\n})();`);
  await page(...Object.values(scope));
  return shown;
}

describe("tokens.md", () => {
  serveAs("tokens.md");

  const [fastapi = "", django = ""] = blocksOf("tokens.md", "python");
  const [express = "", page = ""] = blocksOf("tokens.md", "js");
  const APPLICATIONS = [
    { name: "FastAPI", file: "app.py", source: fastapi, command: "uvicorn app:app --port 8000" },
    { name: "Express", file: "app.mjs", source: express, command: "node app.mjs" },
    { name: "Django", file: "app.py", source: django, command: "python app.py runserver 8000" },
  ];

  test.each(APPLICATIONS)(
    "the application in $name signs tokens that open its rooms",
    async ({ name, file, source, command }) => {
      const port = String(freePort());
      const readme = await Bun.file(join(ROOT, "docs/tokens.md")).text();
      expect([name, readme.includes(`\`${command}\``)]).toEqual([name, true]);
      writeFileSync(join(folder, file), source.replace("listen(8000,", `listen(${port},`));
      const [, secret = ""] = /jwt_secret = "([^"]+)"/.exec(blockWith("tokens.md", "toml", "")) ?? [];
      // The script uvicorn names one Python by its path.
      start(command.replace("8000", port).replace(/^uvicorn/, "python -m uvicorn"), { JWT_SECRET: secret });
      const address = `http://127.0.0.1:${port}/channel-token`;
      const ask = (cookie: string) => fetch(address, { headers: { cookie } });
      const stranger = await eventually(() => ask("session=guessed").catch(() => null), "the application");
      expect(stranger.status).toBe(401);

      const signed = () => ask("theme=dark; session=5f0c1e");
      const shown = await browse(page, {
        channelUrl: channel.url.replace("http", "ws"),
        fetch: (path: string) => (path === "/channel-token" ? signed() : Promise.reject(new Error(path))),
      });
      await eventually(async () => {
        await run("redis-cli publish to:room:7:news '{\"n\":1}'");
        return shown.take().length > 0;
      }, "the message");

      const { token } = await (await signed()).json();
      expect(claimsOf(token)).toMatchObject({ id: "alice", channels: ["room:*"] });
      const alice = await connect();
      expect((await alice.join("user:alice", { token })).status).toBe("ok");
      expect((await alice.join("news", { token })).status).toBe("error");

      if (name !== "FastAPI") return;
      const attempt = blockWith("tokens.md", "sh", "TOKEN=")
        .replaceAll("127.0.0.1:8000", `127.0.0.1:${port}`)
        // curl ends a stream that goes on by the time limit, with 28.
        .replace("--max-time 2", "--max-time 2 --no-progress-meter");
      expect(await run(`${attempt.trim()} || [ $? = 28 ]`)).toContain("event: ready");
    },
    120_000,
  );
});

describe("permissions.md", () => {
  serveAs("permissions.md");

  test("tokens and keys may do what the page says", async () => {
    const tokenOf = async (role: string) =>
      (await run(commandWith("permissions.md", `--for ${role}`))).trim();
    const [reader, editor, other] = [await connect(), await connect(), await connect()];
    for (const [client, role] of [
      [reader, "reader"],
      [editor, "editor"],
      [other, "reader"],
    ] as const)
      expect((await client.join("news:today", { token: await tokenOf(role) })).status).toBe("ok");
    expect((await other.join("room:7", { token: await tokenOf("reader") })).status).toBe("error");

    const push = (client: PhoenixClient, event: string) =>
      client.ask({ joinRef: "1", topic: "news:today", event, payload: '{"n":2}' });
    const refused = await push(reader, "correction");
    expect([refused.status, refused.response]).toMatchObject(["error", { reason: "forbidden" }]);

    const backend = await subscribe(commandWith("permissions.md", "psubscribe"));
    expect((await push(editor, "correction")).status).toBe("ok");
    const stamped = { user: "editor", payload: { n: 2 } };
    expect((await reader.event("correction")).payload).toEqual(stamped);
    const heard = JSON.parse(await backend.lines.until((line) => line.startsWith("{")));
    const shown = JSON.parse(blocksOf("permissions.md", "json")[1] ?? "");
    expect(heard).toEqual({ ...shown, connection: expect.any(String), ref: expect.any(String) });
    expect((await push(editor, "other")).status).toBe("ok");
    expect((await reader.fence()).filter(({ event }) => event === "other")).toEqual([]);

    const publish = commandWith("permissions.md", "curl");
    expect(JSON.parse(await run(publish))).toMatchObject({ listeners: 3 });
    expect((await reader.event("line")).payload).toEqual({ n: 1 });
    expect(JSON.parse(await run(publish.replace("news:today", "room:7")))).toHaveProperty("code");
  });
});

describe("private-channel.md", () => {
  serveAs("private-channel.md");

  test("one user gets a message, by Redis and by HTTP", async () => {
    const token = (await run(commandWith("private-channel.md", "token --for"))).trim();
    const shown = await browse(blocksOf("private-channel.md", "js")[0] ?? "", { token });
    const bob = await connect();
    const strange = (await run("channel token --for bob")).trim();
    expect((await bob.join("user:alice", { token: strange })).response).toMatchObject({
      reason: "unauthorized",
    });
    expect((await bob.join("user:bob", { token: strange })).status).toBe("ok");
    const send = commandWith("private-channel.md", '"user": "alice"');
    // The answer counts listeners after the message was published: while she joins, the count may be one more or less than got it.
    await eventually(async () => {
      await run(send);
      return shown.all.length > 0;
    }, "alice");
    expect(JSON.parse(await run(send)).listeners).toBe(1);
    await run(commandWith("private-channel.md", "redis-cli publish"));
    expect(await shown.until((item) => item !== "by HTTP")).toBe("only for alice");
    expect(shown.all[0]).toBe("by HTTP");
    expect((await bob.fence()).filter(({ event }) => event === "note")).toEqual([]);
  });

  test("one connection, or all but one", async () => {
    const token = (await run("channel token --for carol --channel 'room:*'")).trim();
    const [first, second] = [await connect(), await connect()];
    const ids: string[] = [];
    for (const client of [first, second]) {
      const { response } = await client.join("room:7", { token });
      ids.push(String(Object(response).id).split(":")[0] ?? "");
    }
    const to = (text: string) =>
      run(commandWith("private-channel.md", text).replace("Vf3mQ2x8dK1pZs", ids[0] ?? ""));
    await to('"connection"');
    expect((await first.event("note")).payload).toEqual({});
    await to('"except"');
    expect((await second.event("note")).payload).toEqual({});
    for (const client of [first, second])
      expect((await client.fence()).filter(({ event }) => event === "note")).toEqual([]);
  });
});

describe("presence.md", () => {
  serveAs("presence.md");

  test("members, pages and backends see who is online", async () => {
    const [, example = ""] =
      /`(channel token [^`]*)`/.exec(await Bun.file(join(ROOT, "docs/presence.md")).text()) ?? [];
    const token = (await run(example)).trim();
    const diffs = await subscribe(commandWith("presence.md", "psubscribe"));
    const shown = await browse(blocksOf("presence.md", "js")[0] ?? "", { token });
    await shown.until((list) => JSON.stringify(list) === '["alice: Alice"]');
    const joined = JSON.parse(await diffs.lines.until((line) => line.includes('"alice"')));
    expect(joined.joins.alice.metas).toMatchObject([{ name: "Alice" }]);
    const { listed } = JSON.parse(await run(commandWith("presence.md", "/api/channels/")));
    expect(listed).toMatchObject([{ user: "alice" }]);
    const empty = await run(commandWith("presence.md", "/api/channels/").replace("lobby", "empty"));
    expect(JSON.parse(empty)).toHaveProperty("code");
    for (const socket of sockets) socket.disconnect();
    await diffs.lines.until((line) => line.includes('"leaves":{"alice"'));
  });
});

/** What the page about recovery receives on `room:7`, with its lines as they stand. */
async function chat(
  address: string,
  token: string,
): Promise<{ numbers: number[]; reloads: number; socket: Socket }> {
  const [code = ""] = blocksOf("recovery.md", "js");
  const socket = new Socket(`${address.replace("http", "ws")}/socket`, { reconnectAfterMs: () => 20 });
  sockets.push(socket);
  const page = { numbers: [] as number[], reloads: 0, socket };
  const location = { reload: () => page.reloads++ };
  const run = new Function("socket", "token", "location", `${code}; return channel;`);
  const joining: unknown = run(socket, token, location);
  if (!isChannel(joining)) throw new Error("docs/recovery.md has no channel");
  joining.on("n", (payload) => void page.numbers.push(Number(Object(payload).n)));
  socket.connect();
  await eventually(() => joining.state === "joined", "the join");
  return page;
}

/** The commands of an upgrade, in a folder instead of the system's. */
function placed(commands: string, to: string): string {
  return commands
    .replaceAll("dist/channel", channelBinary())
    .replaceAll("/usr/bin/channel", join(to, "channel"))
    .replaceAll("/etc/channel/", `${to}/`);
}

function isChannel(value: unknown): value is Channel {
  return typeof value === "object" && value !== null && "onMessage" in value;
}

describe("upgrade.md and recovery.md", () => {
  const HISTORY = blockWith("recovery.md", "toml", "history = 300");

  test("a page that lost its connection gets what it missed", async () => {
    const server = await startReloading({ toml: `${SECRETS_TOML}${HISTORY}` });
    const backend = backendOn(server.redis.port);
    try {
      const page = await chat(server.channel.url, mint({ id: "ann", channel: "room:7" }, SECRET));
      await backend.publish("to:room:7:n", '{"n":1}');
      await eventually(() => page.numbers.length === 1, "the first message");
      page.socket.conn?.close();
      await backend.publish("to:room:7:n", '{"n":2}');
      await eventually(() => page.numbers.length === 2, "the message that was missed");
      expect([page.numbers, page.reloads]).toEqual([[1, 2], 0]);
      page.socket.disconnect();
    } finally {
      backend.stop();
      await server.stop();
    }
  });

  test("the commands of the page replace the executable, and a page with recovery misses nothing", async () => {
    const cwd = mkdtempSync(join(tmpdir(), "channel-upgrade-"));
    const port = freePort();
    const binary = join(cwd, "channel");
    copyFileSync(channelBinary(), binary);
    const server = await startReloading({
      cwd,
      binary,
      port,
      toml: `${SECRETS_TOML}port = ${port}\n${HISTORY}`,
    });
    const backend = backendOn(server.redis.port);
    try {
      const page = await chat(server.channel.url, mint({ id: "ann", channel: "room:7" }, SECRET));
      let sent = 0;
      const publish = () => backend.publish("to:room:7:n", `{"n":${++sent}}`);
      await publish();
      const old = server.pid;
      const upgrading = outputOf(["sh", "-eu", "-c", placed(blocksOf("upgrade.md", "sh")[0] ?? "", cwd)], {
        cwd,
        env: { PATH: `${cwd}:${process.env.PATH ?? ""}` },
      });
      for (let done = false; !done; ) {
        await publish();
        done = await Promise.race([upgrading.then(() => true), Bun.sleep(100).then(() => false)]);
      }
      expect((await upgrading).trim()).toMatch(/\d+\.\d+\.\d+/);
      await server.settled();
      expect(server.pid).not.toBe(old);
      await publish();
      await eventually(() => page.numbers.at(-1) === sent, "the last message");
      expect(page.numbers).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
      expect(page.reloads).toBe(0);
      page.socket.disconnect();
    } finally {
      backend.stop();
      await server.stop();
      rmSync(cwd, { recursive: true, force: true });
    }
  }, 120_000);
});

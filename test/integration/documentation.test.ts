import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Socket } from "phoenix";
import { hookSignature } from "../../src/hooks/hook-client.ts";
import { type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
import { connectGroups } from "./groups/groups-client.ts";
import { blocksOf } from "./page-blocks.ts";
import { connectPhoenix, eventually, mint } from "./phoenix-client.ts";
import { findPython } from "./python.ts";
import { freePort, type RedisProcess, startRedis } from "./redis-process.ts";

/*
 * Runs the code blocks of the pages in docs/. Only addresses and secrets are replaced.
 */

const ROOT = join(import.meta.dir, "../..");
const DOCS = join(ROOT, "docs");
const SECRET = "a-long-secret-that-nobody-could-guess";

const folders: string[] = [];
const running: { kill(): void }[] = [];
const servers: ChannelProcess[] = [];
let redis: RedisProcess;

beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  for (const child of running.splice(0)) child.kill();
  for (const server of servers.splice(0)) await server.stop();
});
afterAll(async () => {
  await redis?.stop();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A working folder in which `channel` is a command. */
function workingFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "channel-reader-"));
  folders.push(folder);
  symlinkSync(channelBinary(), join(folder, "channel"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

function shell(block: string, cwd: string, env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn(["sh", "-eu", "-c", block], {
    cwd,
    env: { PATH: `${cwd}:${process.env.PATH ?? ""}`, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.push(child);
  return child;
}

async function runs(block: string, cwd: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const child = shell(block, cwd, env);
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${block} ended with ${code}: ${err}`);
  return out;
}

async function serve(options: Parameters<typeof startChannel>[0]): Promise<ChannelProcess> {
  const server = await startChannel(options);
  servers.push(server);
  return server;
}

test("first minute: the commands work in order", async () => {
  const [first = "", second = "", third = ""] = blocksOf("first-minute.md", "sh");
  const port = freePort();
  const cwd = workingFolder();
  const env = { PORT: String(port), REDIS_URL: `redis://127.0.0.1:${freePort()}`, BUS: "embedded" };
  const server = shell(`exec ${first}`, cwd, env);
  const health = await eventually(
    () =>
      fetch(`http://127.0.0.1:${port}/health`).then(
        (answer) => answer.json(),
        () => null,
      ),
    "the server",
  );
  expect(health).toMatchObject({ status: "up", bus: "embedded" });
  const { token }: { token: string } = await (
    await fetch(`http://127.0.0.1:${port}/token`, { method: "POST", body: '{"channel":"system"}' })
  ).json();
  const page = await connectPhoenix(`http://127.0.0.1:${port}`, { params: { userToken: token } });
  page.send({
    joinRef: "1",
    ref: "1",
    topic: "system",
    event: "phx_join",
    payload: JSON.stringify({ token }),
  });
  await page.reply("1");
  const [publish = "", watch = ""] = second.trim().split("\n");
  await runs(publish, cwd, env);
  expect((await page.event("update")).payload).toEqual({ hello: "everybody" });

  const watching = shell(`exec ${watch}`, cwd, env);
  let shown = "";
  const reading = (async () => {
    for await (const chunk of watching.stdout) shown += Buffer.from(chunk).toString();
  })();
  // watch shows no messages from before its start.
  await eventually(async () => {
    await runs(publish, cwd, env);
    return shown.includes("everybody");
  }, "what was published");
  expect(shown).toContain('to:system:update {"hello":"everybody"}');
  watching.kill("SIGINT");
  expect(await watching.exited).toBe(0);
  await reading;
  page.socket.close();
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);

  expect(await runs(third, cwd)).toMatch(/^channel\.toml\n[\s\S]*jwt_secret +"\*+"[\s\S]*\neyJ\S+\n$/);
});

test("README: the first message reaches a page, by both commands", async () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const commands = [...readme.matchAll(/^(?:redis-cli|npm run channel) .*/gm)].map(([line]) => line);
  expect(commands.length).toBe(2);
  const server = await serve({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
  const page = await connectPhoenix(server.url);
  expect((await page.join("system", { token: mint({ id: "a", channel: "system" }, SECRET) })).status).toBe(
    "ok",
  );
  for (const command of commands) {
    const line = command.replace("redis-cli", `redis-cli -p ${redis.port}`);
    const child = Bun.spawn(["sh", "-eu", "-c", line], {
      cwd: ROOT,
      env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "/tmp", REDIS_URL: redis.url },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    running.push(child);
    expect([command, await child.exited]).toEqual([command, 0]);
    expect((await page.event("update")).payload).toEqual({ hello: "from the backend" });
  }
  page.socket.cut();
}, 60_000);

test("cookie sessions: the application of the page decides on joins", async () => {
  const [toml = ""] = blocksOf("authorize.md", "toml");
  const [application = ""] = blocksOf("authorize.md", "js");
  const port = String(freePort());
  const cwd = workingFolder({ "app.js": application.replace("listen(8000,", `listen(${port},`) });
  shell(`exec ${process.execPath} app.js`, cwd);
  const server = await serve({
    args: ["--redis-url", redis.url],
    toml: toml.replace(":8000/", `:${port}/`),
  });
  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${port}/`, { method: "POST", body, headers }).catch(() => null);
  expect((await eventually(() => post("{}"), "the application")).status).toBe(403);
  // Signed with the same secret, but a webhook.
  const [, secret = ""] = /hook_secret = "([^"]+)"/.exec(toml) ?? [];
  const webhook = '{"id":"0-1","at":1,"events":[]}';
  expect((await post(webhook, { "x-channel-signature": hookSignature(secret, webhook) }))?.status).toBe(400);
  const member = await connectPhoenix(server.url, { headers: { cookie: "a=b; session=5f0c1e" } });
  expect((await member.join("room:7", { seat: 3 })).status).toBe("ok");
  expect(JSON.stringify((await member.event("presence_state")).payload)).toContain('"name":"alice"');
  const stranger = await connectPhoenix(server.url, { headers: { cookie: "session=guessed" } });
  expect((await stranger.join("room:7")).response).toEqual({ reason: "sign in first" });
  for (const client of [member, stranger]) client.socket.cut();
});

test("clients: the Python program of the page joins and receives", async () => {
  const server = await serve({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
  const [python = ""] = blocksOf("clients.md", "python");
  const token = mint({ id: "reader", channels: ["room:*"] }, SECRET);
  const program = `import sys\nurl, token = sys.argv[1:3]\n${python}`;
  const client = Bun.spawn(
    [findPython("websocket"), "-c", program, server.url.replace("http", "ws"), token],
    { stdout: "pipe", stderr: "inherit" },
  );
  running.push(client);
  const backend = new Bun.RedisClient(redis.url);
  // It may not have joined yet.
  await eventually(async () => {
    await backend.publish("to:room:7:news", '{"n": 1}');
    return client.exitCode !== null;
  }, "the message");
  backend.close();
  expect(await new Response(client.stdout).text()).toBe('{"n": 1}\n');
});

test("clients: the composable for Vue joins and receives", async () => {
  const server = await serve({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
  const block = blocksOf("clients.md", "ts").find((each) => each.includes('from "vue"')) ?? "";
  const code = block.replace(/^import .*from "vue";$/m, "").replace("export ", "");
  const leaving: (() => void)[] = [];
  // What the block uses of Vue, which is not installed here.
  const use = new Function("onScopeDispose", "ref", `${code}\nreturn useChannel;`)(
    (leave: () => void) => leaving.push(leave),
    (value: unknown) => ({ value }),
  );
  const token = mint({ id: "reader", channels: ["room:*"] }, SECRET);
  const socket = new Socket(`${server.url.replace("http", "ws")}/socket`, { params: { userToken: token } });
  socket.connect();
  const { latest, status } = use(socket, "room:7", "news");
  await eventually(() => status.value === "joined", "the join");
  const backend = new Bun.RedisClient(redis.url);
  await backend.publish("to:room:7:news", '{"n": 1}');
  await eventually(() => latest.value !== null, "the message");
  expect(latest.value).toEqual({ n: 1 });
  backend.close();
  expect(leaving.length).toBe(1);
  for (const leave of leaving) leave();
  socket.disconnect();
});

test("metrics: the page lists exactly the metrics of a server", async () => {
  const server = await serve({ args: ["--redis-url", redis.url] });
  const exposition = await (await fetch(`${server.url}/metrics`)).text();
  const metrics = [...exposition.matchAll(/^# HELP (\S+) (.*)$/gm)].map(
    ([, name, help]) => `${name}: ${help}`,
  );
  const rows = [
    ...readFileSync(join(DOCS, "metrics.md"), "utf8").matchAll(/^\| `(\S+)` *\| \w+ *\| (.*?) *\|/gm),
  ];
  expect(rows.map(([, name, help]) => `${name}: ${help}`).sort()).toEqual(metrics.sort());
});

describe("migration", () => {
  test("from Phoenix: the client and the backend of the page exchange messages", async () => {
    const server = await serve({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
    const [python = ""] = blocksOf("moving-from-phoenix.md", "python");
    const asking = new Bun.RedisClient(redis.url);
    const patterns = async (): Promise<number> => Number(await asking.send("PUBSUB", ["NUMPAT"]));
    const ofServer = await patterns();
    const backend = Bun.spawn(
      [findPython("redis"), "-c", `import sys\nurl = sys.argv[1]\n${python}`, redis.url],
      {
        stdout: "ignore",
        stderr: "inherit",
      },
    );
    running.push(backend);
    await eventually(async () => (await patterns()) > ofServer, "the backend");
    asking.close();

    const [js = ""] = blocksOf("moving-from-phoenix.md", "js");
    const code = js.replace('import { Socket } from "phoenix";\n', "");
    const answered = Promise.withResolvers<unknown>();
    const joined = Promise.withResolvers<void>();
    const follow = new Function("Socket", "address", "token", "done", "said", `${code}; return socket;`);
    const token = mint({ id: "reader", channels: ["room:*"] }, SECRET);
    const socket: unknown = follow(
      Socket,
      server.url.replace("http", "ws"),
      token,
      answered.resolve,
      joined.resolve,
    );
    await joined.promise;
    expect(await answered.promise).toEqual({ heard: { text: "hello" } });
    if (socket instanceof Socket) socket.disconnect();
  });

  test("from Channelstream: the configuration is converted and the call of the page works", async () => {
    const [init = ""] = blocksOf("moving-from-channelstream.md", "sh");
    const [python = ""] = blocksOf("moving-from-channelstream.md", "python");
    const cwd = workingFolder({
      "config.ini": `[channelstream]\nhost = 127.0.0.1\nport = 8000\nsecret = ${SECRET}\n`,
    });
    await runs(init, cwd);
    const server = await serve({ cwd, args: ["--redis-url", redis.url] });
    const call = Bun.spawn([findPython("itsdangerous"), "-c", python], {
      env: { PATH: process.env.PATH ?? "", CHANNEL_ADDRESS: server.url, CHANNEL_SECRET: SECRET },
      stdout: "pipe",
      stderr: "inherit",
    });
    expect(await new Response(call.stdout).text()).toBe("hello\n");
  }, 30_000);

  test("from Tangram: the tangram.toml and the command line of the page work", async () => {
    const [toml = ""] = blocksOf("moving-from-tangram.md", "toml");
    const [line = ""] = blocksOf("moving-from-tangram.md", "sh");
    const port = freePort();
    const cwd = workingFolder({ "tangram.toml": toml.replace("redis://127.0.0.1:6379", redis.url) });
    const server = shell(`exec ${line.replace("2025", String(port))}`, cwd);
    const asked = () =>
      fetch(`http://127.0.0.1:${port}/token`, { method: "POST", body: '{"channel":"system","id":"a"}' });
    const answer = await eventually(() => asked().catch(() => null), "the server");
    const { token }: { token: string } = await answer.json();
    const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    // Tangram's tokens are valid for ten years.
    expect(exp).toBeGreaterThan(Date.now() / 1000 + 9 * 365 * 86_400);
    expect(toml).toContain(`jwt_secret = "`);
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
  });

  test("from AWX: the publish of the page reaches a client subscribed to the group", async () => {
    const server = await serve({ args: ["--redis-url", redis.url, "--jwt-secret", SECRET] });
    const [publish = ""] = blocksOf("moving-from-awx.md", "sh");
    const cwd = workingFolder();
    const page = readFileSync(join(DOCS, "moving-from-awx.md"), "utf8");
    const command = /`(channel token [^`]*)`/.exec(page)?.[1] ?? "";
    const token = (await runs(command, cwd, { JWT_SECRET: SECRET })).trim();
    const client = await connectGroups(server.url, {
      path: "/websocket/",
      headers: { cookie: `token="${token}"` },
    });
    expect(await client.next()).toEqual({ accept: true, user: "alice" });
    await client.follow({ jobs: ["status_changed"], job_events: [42] });
    await runs(publish, cwd, { REDIS_URL: redis.url });
    expect(await client.next()).toEqual({ group_name: "jobs", unified_job_id: 42, status: "running" });
    client.socket.close();
  });
});

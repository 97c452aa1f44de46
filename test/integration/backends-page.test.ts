import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ChannelProcess, startChannel } from "./channel-process.ts";
import { blockWith, commandWith } from "./page-blocks.ts";
import { connectPhoenix, eventually, type PhoenixClient } from "./phoenix-client.ts";
import { findPython } from "./python.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { outputOf, type Program, startProgram } from "./tangram/program.ts";
import { type Backend, backendOn } from "./world.ts";

/* Runs the code blocks of docs/backends.md. Only addresses and secrets are replaced. */

const ROOT = join(import.meta.dir, "../..");
const SECRET = "a-secret-of-these-tests-that-is-long-enough";

const PAGE = "backends.md";

/** The command of the page that contains a text, ready to run here. */
const command = (text: string) => commandWith(PAGE, text).replace("redis-cli", `redis-cli -p ${redis.port}`);

/** Where Node finds the package redis. */
const folder = (() => {
  const parent = join(ROOT, "node_modules/.cache");
  mkdirSync(parent, { recursive: true });
  return mkdtempSync(join(parent, "backends-page-"));
})();

/** The programs that are run here: the interpreters of the others may be absent. */
const PROGRAMS = [
  { language: "python", file: "backend.py", command: () => findPython("redis") },
  { language: "js", file: "backend.mjs", command: () => "node" },
] as const;

type ProgramOfPage = (typeof PROGRAMS)[number];

let redis: RedisProcess;
let backend: Backend;
let channel: ChannelProcess;
let programs: Program[] = [];
let clients: PhoenixClient[] = [];

beforeAll(async () => {
  redis = await startRedis();
  backend = backendOn(redis.port);
  channel = await startChannel({
    args: ["--bus", "redis", "--redis-url", redis.url],
    env: { JWT_SECRET: SECRET },
    toml: blockWith(PAGE, "toml", "[[api_keys]]"),
  });
});
afterEach(async () => {
  for (const each of clients) each.socket.cut();
  for (const each of programs) await each.stop();
  [clients, programs] = [[], []];
  await eventually(async () => (await receivers()) === 0, "the end of the backends");
});
afterAll(async () => {
  await channel?.stop();
  backend?.stop();
  await redis?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const environment = () => ({ REDIS_URL: redis.url, JWT_SECRET: SECRET });

function programOf({ language, file, command }: ProgramOfPage): string[] {
  const path = join(folder, file);
  writeFileSync(path, blockWith(PAGE, language, "JWT_SECRET"));
  return [command(), path];
}

/** A client in `room:lobby` and its own channel, with the token that a program of the page makes. */
async function enter(user: string, program: ProgramOfPage = PROGRAMS[0]): Promise<PhoenixClient> {
  const made = await outputOf([...programOf(program), "token", user], { env: environment() });
  const client = await connectPhoenix(channel.url);
  clients.push(client);
  for (const name of ["room:lobby", `user:${user}`])
    expect((await client.join(name, { token: made.trim() })).status).toBe("ok");
  return client;
}

/** Backends that receive pushes of `say`. */
const receivers = (): Promise<number> =>
  backend.publish("push:room:probe:say", '{"channel":"room:probe","user":"probe","payload":{}}');

function run(command: string[]): Program {
  const program = startProgram(command, { env: environment() });
  programs.push(program);
  return program;
}

/** Starts a command with redis-cli that subscribes; resolves when Redis has the subscription. */
async function subscribe(command: string): Promise<Program> {
  const program = run(["sh", "-c", `exec ${command}`]);
  await program.lines.until((line) => line === "psubscribe", "the subscription");
  return program;
}

/** JSON that many parsers or printers refuse. */
const HOSTILE = [
  "1",
  "null",
  '{"words":{"toString":1}}',
  '"\\ud800"',
  `${"[".repeat(9000)}${"]".repeat(9000)}`,
];

/** Pushes JSON text to the room; the reply. */
const ask = (client: PhoenixClient, event: string, payload: string) =>
  client.ask({ joinRef: "1", topic: "room:lobby", event, payload });

async function push(client: PhoenixClient, event: string, payload: unknown): Promise<void> {
  expect((await ask(client, event, JSON.stringify(payload))).status).toBe("ok");
}

/** Calls `search`; the reply. */
const search = (client: PhoenixClient) => ask(client, "search", '{"words":"private"}');

test("programs that answer calls wait longer than the time-outs of client libraries", async () => {
  const alice = await enter("alice");
  const waiting = PROGRAMS.map((program) => run([...programOf(program), "answer"]));
  // The package redis of Python has 5 s.
  await Bun.sleep(6_000);
  expect(waiting.map(({ isRunning }) => isRunning)).toEqual(PROGRAMS.map(() => true));
  expect((await search(alice)).status).toBe("ok");
});

describe.each(PROGRAMS)("the program in $language", (program) => {
  test("makes tokens, and is the backend of a chat", async () => {
    const alice = await enter("alice", program);
    run(programOf(program));
    await eventually(async () => (await receivers()) > 0, "the backend");
    for (const payload of HOSTILE) await ask(alice, "say", payload);
    await push(alice, "say", { text: "hello", user: "mallory" });
    const { payload } = await alice.frames.until(
      ({ event, text }) => event === "line" && text.includes("mallory"),
    );
    expect(payload).toEqual({ user: "alice", payload: { text: "hello", user: "mallory" } });
  });

  test("answers calls", async () => {
    const alice = await enter("alice", program);
    run([...programOf(program), "answer"]);
    const [joinRef, topic] = ["1", "room:lobby"];
    for (const payload of HOSTILE) alice.send({ joinRef, topic, event: "search", payload });
    expect(await search(alice)).toMatchObject({
      status: "ok",
      response: { user: "alice", payload: { words: "private" } },
    });
  });
});

test("all programs use the same names of Redis, and the same claims", () => {
  const all = ["python", "js", "go", "php", "ruby"].map((language) =>
    blockWith(PAGE, language, "JWT_SECRET"),
  );
  for (const text of all) {
    const seen = {
      pattern: /["']push:room:\*:say["']/.test(text),
      // The channel of the push is put in between.
      line: /["'`]to:\W.{0,20}:line["'`]/.test(text),
      claims: /\bid\b.{1,10}user.*room:\*.*exp.*3600/s.test(text),
      header: /alg\W+HS256/.test(text),
      queue: /["']queue:help["']/.test(text),
      reply: /["'`]reply:\W/.test(text) && /status\W+ok\W+response/.test(text),
    };
    expect(seen).toEqual({
      pattern: true,
      line: true,
      claims: true,
      header: true,
      queue: true,
      reply: true,
    });
  }
});

test("a chat with redis-cli", async () => {
  const alice = await enter("alice");
  const pushes = await subscribe(command("push:room:*:say"));
  await push(alice, "say", { text: "hello" });
  const received = await pushes.lines.until((line) => line.startsWith("{"));
  expect(JSON.parse(received)).toMatchObject({ user: "alice", event: "say", payload: { text: "hello" } });
  await outputOf(["sh", "-c", command("to:room:lobby:line")]);
  expect((await alice.event("line")).payload).toEqual({ user: "alice", payload: { text: "hello" } });
});

test("a call that redis-cli answers", async () => {
  const alice = await enter("alice");
  const worker = run(["sh", "-c", `exec ${command("blpop")}`]);
  const answered = search(alice);
  const call = JSON.parse(await worker.lines.until((line) => line.startsWith("{")));
  expect(call).toMatchObject({ channel: "room:lobby", event: "search", user: "alice" });
  expect(call.deadline).toBeGreaterThan(Date.now());
  await outputOf(["sh", "-c", command("$REPLY")], { env: { REPLY: call.reply } });
  expect(await answered).toMatchObject({
    status: "ok",
    response: { titles: ["Who can read a private message"] },
  });
});

test("cursors reach the other members, with the user", async () => {
  const alice = await enter("alice");
  const bob = await enter("bob");
  await push(alice, "cursor", { x: 1, y: 2 });
  expect((await bob.event("cursor")).payload).toEqual({ user: "alice", payload: { x: 1, y: 2 } });
});

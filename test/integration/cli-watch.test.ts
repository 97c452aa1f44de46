import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { channelBinary } from "./channel-process.ts";
import { Folders, type RunningCommand, runCommand, startCommand } from "./cli-process.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { inTerminal } from "./terminal.ts";
import { type Backend, backendOn } from "./world.ts";

const folders = new Folders();
const running: RunningCommand[] = [];
let redis: RedisProcess;
let backend: Backend;

beforeAll(async () => {
  redis = await startRedis();
  backend = backendOn(redis.port);
});

afterEach(() => {
  for (const command of running.splice(0)) command.kill();
});

afterAll(async () => {
  await backend?.stop();
  await redis?.stop();
  folders.remove();
});

/** What each command line of `watch` shows of these messages, in order, and its last line of standard error. */
async function shownBy(args: readonly string[], topics: readonly string[]) {
  const watch = startCommand(["watch", "--redis-url", redis.url, "--json", ...args], folders.create());
  running.push(watch);
  const watching = await watch.errors.until((line) => line.startsWith("watching "), "watching");
  for (const topic of topics) await backend.publish(topic, "1");
  // The last message is for the end of the test only, and every selection has it.
  const seen: string[] = [];
  for (;;) {
    const { topic }: { topic: string } = JSON.parse(await watch.lines.next());
    if (topic.includes("end-of-test")) break;
    seen.push(topic);
  }
  expect(await watch.end()).toBe(0);
  return {
    seen,
    watching,
    last: await watch.errors.until((line) => line.includes(" matched "), "the number"),
  };
}

const TOPICS = [
  "to:room:7:news",
  "to:room:7:sub:news",
  "from:room:7:say",
  "to:room:8:news",
  "to:other:news",
  "from:other:say",
  "to:a?b:news",
  "to:axb:news",
];

describe("watch selects", () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[], string])[] = [
    [
      "a channel by its name, in both directions",
      ["room:7", "end-of-test"],
      ["to:room:7:news", "from:room:7:say"],
      "room:7 end-of-test",
    ],
    [
      "channels by a pattern",
      ["room:*", "end-of-test"],
      ["to:room:7:news", "to:room:7:sub:news", "from:room:7:say", "to:room:8:news"],
      "room:* end-of-test",
    ],
    [
      "each message once, where several arguments mean it",
      ["room:*", "room:7", "to:room:*", "end-of-test"],
      ["to:room:7:news", "to:room:7:sub:news", "from:room:7:say", "to:room:8:news"],
      "room:* room:7 to:room:* end-of-test",
    ],
    ["a name with a character of patterns", ["a?b", "end-of-test"], ["to:a?b:news"], '"a?b" end-of-test'],
    [
      "messages from clients",
      ["--from"],
      ["from:room:7:say", "from:other:say"],
      "all channels, from clients",
    ],
    [
      "messages to clients",
      ["--to", "room:7", "end-of-test"],
      ["to:room:7:news"],
      "room:7 end-of-test, to clients",
    ],
    [
      "events",
      ["--event", "say", "--event", "en*"],
      ["from:room:7:say", "from:other:say"],
      "event say en* of all channels",
    ],
    [
      "topics, as before",
      ["to:other:*", "from:end-of-test:end"],
      ["to:other:news"],
      "to:other:* from:end-of-test:end",
    ],
  ];
  test.each(cases)("%s", async (_, args, expected, shown) => {
    const { seen, watching, last } = await shownBy(args, [
      ...TOPICS,
      "from:end-of-test:end",
      "to:end-of-test:end",
    ]);
    expect(seen).toEqual([...expected]);
    expect(watching).toStartWith(`watching ${shown} at 127.0.0.1:${redis.port}; `);
    expect(last).toMatch(/^\d+ messages? matched /);
  });
});

test("watch says that nothing matched", async () => {
  const watch = startCommand(["watch", "room:*", "--redis-url", redis.url], folders.create());
  running.push(watch);
  await watch.errors.until((line) => line.startsWith("watching "), "watching");
  await backend.publish("to:lobby:news", "1");
  expect(await watch.end()).toBe(0);
  expect(await watch.errors.until((line) => line.includes("matched"), "the number")).toBe(
    "no messages matched room:*",
  );
});

test("watch refuses a filter of channels for a topic, and an empty name", async () => {
  const cwd = folders.create();
  expect(await runCommand(["watch", "to:a:*", "--from"], { cwd })).toMatchObject({
    code: 2,
    out: "",
    err: "channel: to:a:* is a topic: --from, --to and --event select messages of channels. Name the channel alone\n",
  });
  expect((await runCommand(["watch", ""], { cwd })).code).toBe(2);
});

test("in a terminal an error is red, and what is none is not", async () => {
  const cwd = folders.create();
  const watch = inTerminal(`${channelBinary()} watch room:7 --redis-url ${redis.url}`, cwd);
  await watch.until("watching room:7 at");
  watch.type("\u0003");
  expect(await watch.exited).toBe(0);
  expect(watch.screen()).toContain("no messages matched room:7");
  expect(watch.screen()).not.toContain("\u001b[31m");
  const token = inTerminal(`${channelBinary()} token --for alice --jwt-secret ${"x".repeat(32)}`, cwd);
  expect(await token.exited).toBe(0);
  expect(token.screen()).toContain("allows user:alice for alice until 20");
  expect(token.screen()).not.toContain("\u001b[31m");
  const wrong = inTerminal(`${channelBinary()} watch --count none`, cwd);
  expect(await wrong.exited).toBe(2);
  expect(wrong.screen()).toContain("\u001b[31mchannel: --count must be");
});

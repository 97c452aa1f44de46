import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { channelBinary } from "../integration/channel-process.ts";
import { connectPhoenix } from "../integration/phoenix-client.ts";
import { findPython } from "../integration/python.ts";
import { type RedisProcess, startRedis } from "../integration/redis-process.ts";
import { outputOf, type Program, startProgram } from "../integration/tangram/program.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/* The applications in examples/, each started by the commands of examples/README.md, in a browser. */

const ROOT = join(import.meta.dir, "../..");

/** Where it starts a process that is busy with other tests. */
const START_MS = 60_000;

let browser: Browser;
let redis: RedisProcess;
const programs: Program[] = [];
const opened: OpenPage[] = [];

beforeAll(async () => {
  [browser, redis] = await Promise.all([launchChromium(), startRedis()]);
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  for (const each of programs.splice(0)) await each.stop("SIGTERM");
});
afterAll(async () => {
  await browser?.close();
  await redis?.stop();
});

/** The commands that start an example, as the README has them. */
function commandsOf(name: string): { readonly install: readonly string[]; readonly start: string } {
  const readme = readFileSync(join(ROOT, "examples/README.md"), "utf8");
  const lines = readme.split("\n").map((line) => line.trim().replace(/ +#.*$/, ""));
  const start = `npm run demo:${name}`;
  expect(lines).toContain(start);
  return {
    install: lines.filter((line) => line === `pip install -r examples/${name}/requirements.txt`),
    start,
  };
}

/** Starts an example on a free port; returns its address. */
async function start(name: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const options = {
    cwd: ROOT,
    env: {
      PATH: `${dirname(findPython("fastapi"))}:${process.env.PATH ?? ""}`,
      HOME: tmpdir(),
      CHANNEL_BIN: channelBinary(),
      // The packages are there: nothing is fetched.
      PIP_NO_INDEX: "1",
      npm_config_update_notifier: "false",
      npm_config_logs_max: "0",
      ...env,
    },
  };
  const { install, start } = commandsOf(name);
  for (const command of install) await outputOf(["sh", "-c", command], options);
  const program = startProgram(["sh", "-c", `${start} -- --port 0`], options);
  programs.push(program);
  const line = await program.lines.until((each) => each.startsWith("open http:"), "its address", START_MS);
  return line.split(" ")[1] ?? "";
}

async function open(address: string): Promise<OpenPage> {
  const each = await openPage(browser);
  opened.push(each);
  await each.page.goto(address);
  return each;
}

const lineOf = (page: Page, text: string) => page.locator("#lines").getByText(text, { exact: true });

function uncaught(): string[] {
  return opened.flatMap(({ console }) => console.all.filter((line) => line.startsWith("uncaught")));
}

/** Sends a line in the lobby, to everybody or to a user. */
async function say(page: Page, text: string, to = "everybody"): Promise<void> {
  await page.getByLabel("to", { exact: true }).selectOption(to);
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

async function signIn(address: string, user: string): Promise<OpenPage> {
  const each = await open(address);
  await each.page.getByLabel("Your name").fill(user);
  await each.page.getByRole("button", { name: "Sign in" }).click();
  await each.page.getByText(`signed in as ${user}`, { exact: true }).waitFor();
  await each.page.getByLabel("Your name").waitFor({ state: "hidden" });
  return each;
}

/** Those with Python use the embedded bus, Express a Redis. */
const APPLICATIONS = ["fastapi", "django", "express"] as const;

describe.each(APPLICATIONS)("examples/%s", (name) => {
  test("messages reach the room or one user, and searches are answered", async () => {
    const address = await start(name, name === "express" ? { REDIS_URL: redis.url } : {});
    const ann = await signIn(address, "ann");
    await ann.watched(async () => {
      const bob = await signIn(address, "bob");
      const carol = await signIn(address, "carol");
      for (const { page } of [ann, bob, carol]) {
        await page.locator("#members li", { hasText: "carol" }).waitFor();
        expect(await page.locator("#members li").allInnerTexts()).toEqual(["ann", "bob", "carol"]);
      }
      await say(ann.page, "<b>hello</b>");
      for (const { page } of [ann, bob, carol]) await lineOf(page, "ann: <b>hello</b>").waitFor();
      await say(ann.page, "a secret", "bob");
      for (const { page } of [ann, bob]) await lineOf(page, "ann to bob: a secret").waitFor();
      await say(ann.page, "and again");
      for (const { page } of [ann, bob, carol]) await lineOf(page, "ann: and again").waitFor();
      expect(await carol.page.locator("#lines li").count()).toBe(2);

      await bob.page.getByLabel("Search").fill("ROOM");
      await bob.page.getByRole("button", { name: "Find" }).click();
      await bob.page.locator("#found li", { hasText: "How to leave a room" }).waitFor();
      expect(await bob.page.locator("#found li").count()).toBe(2);

      await bob.page.reload();
      await bob.page.getByText("signed in as bob", { exact: true }).waitFor();
      await say(ann.page, "welcome back");
      await lineOf(bob.page, "ann: welcome back").waitFor();
    });
    expect(uncaught()).toEqual([]);
    await refusals(address, ann.page);
    await hostileSearches(ann.page);
  }, 120_000);
});

/** Who is not signed in can do nothing, and who is cannot act as another user. */
async function refusals(address: string, page: Page): Promise<void> {
  const headers = { "content-type": "application/json" };
  const post = (route: string, body: unknown) =>
    fetch(new URL(route, address), { method: "POST", headers, body: JSON.stringify(body) });
  expect((await fetch(new URL("session", address))).status).toBe(401);
  expect((await post("say", { text: "hello" })).status).toBe(401);
  expect((await post("login", { user: "Not A Name" })).status).toBe(422);
  const question = { channel: "room:lobby", params: {}, address: "127.0.0.1" };
  expect((await post("channels/authorize", question)).status).toBe(401);
  const channel = (await page.locator('meta[name="channel"]').getAttribute("content")) ?? "";
  const stranger = await connectPhoenix(channel);
  for (const name of ["room:lobby", "user:bob"]) {
    expect(await stranger.join(name)).toMatchObject({ status: "error", response: { reason: "not allowed" } });
  }
  stranger.socket.cut();
  const joins = await page.evaluate(`(async () => {
    const socket = new Phoenix.Socket("${channel.replace("http", "ws")}/websocket");
    socket.connect();
    const join = (name) => new Promise((resolve) => {
      const refused = ({ reason }) => resolve(reason);
      socket.channel(name).join().receive("ok", () => resolve("joined")).receive("error", refused);
    });
    return [await join("user:ann"), await join("user:bob"), await join("room:other")];
  })()`);
  expect(joins).toEqual(["joined", "not allowed", "not allowed"]);
}

/** A worker goes on after payloads that it did not expect. */
async function hostileSearches(page: Page): Promise<void> {
  const channel = await page.locator('meta[name="channel"]').getAttribute("content");
  const answers = await page.evaluate(`(async () => {
    const socket = new Phoenix.Socket("${channel?.replace("http", "ws")}/websocket");
    socket.connect();
    const room = socket.channel("room:lobby");
    room.join();
    let deep = [];
    for (let i = 0; i < 3000; i++) deep = [deep];
    room.push("search", deep);
    const search = (payload) => new Promise((resolve) =>
      room.push("search", payload).receive("ok", resolve).receive("error", resolve));
    const hostile = [{ words: { toString: 1 } }, {}, 1, null, new Uint8Array([0, 255]).buffer];
    const answers = [];
    for (const payload of [...hostile, { words: "name" }]) answers.push(await search(payload));
    return answers;
  })()`);
  const refused = { reason: "words must be text" };
  expect(answers).toEqual([...Array(5).fill(refused), { titles: ["How to change a name"] }]);
}

test("examples/react: members see lines and drafts of each other", async () => {
  const address = await start("react");
  const ann = await open(`${address}?name=ann`);
  await ann.watched(async () => {
    const bob = await open(`${address}?name=bob`);
    for (const { page } of [ann, bob]) {
      await page.getByText(": joined").waitFor();
      await page.locator("#members li", { hasText: "bob" }).waitFor();
      await page.locator("#members li", { hasText: "ann" }).waitFor();
    }
    await ann.page.getByLabel("Message").fill("good morn");
    await bob.page.locator("#members li", { hasText: "ann good morn" }).waitFor();
    await ann.page.getByLabel("Message").fill("good morning");
    await ann.page.getByRole("button", { name: "Send" }).click();
    for (const { page } of [ann, bob]) await lineOf(page, "ann: good morning").waitFor();
    await bob.page.locator("#members li", { hasText: /^ann\s*$/ }).waitFor();
    // Left out by the schema: the page goes on.
    await bob.page.getByLabel("Message").fill("x".repeat(501));
    await bob.page.getByLabel("Message").fill("short");
    await ann.page.locator("#members li", { hasText: "bob short" }).waitFor();
    await bob.page.goto("about:blank");
    await ann.page.locator("#members li", { hasText: "bob" }).waitFor({ state: "detached" });
  });
  expect(uncaught()).toEqual([]);
}, 120_000);

test("each example has less than 150 lines", () => {
  for (const name of [...APPLICATIONS, "react", "lobby"]) {
    const folder = join(ROOT, "examples", name);
    const sources = readdirSync(folder).filter((file) => file !== "__pycache__" && !file.endsWith(".css"));
    const lines = sources.map((file) => readFileSync(join(folder, file), "utf8").split("\n").length - 1);
    expect({ name, short: lines.reduce((sum, count) => sum + count, 0) < 150 }).toEqual({
      name,
      short: true,
    });
  }
});

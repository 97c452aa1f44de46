import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Locator } from "playwright-core";
import { ADMIN_SECRET } from "../../integration/world.ts";
import { type OpenPage, openPage } from "../chromium.ts";
import { NASTY, type Stage, startStage } from "./stage.ts";

const READ_KEY = "a-key-that-reads-system-only";

let stage: Stage;
beforeAll(async () => {
  stage = await startStage(
    `[[api_keys]]\nkey = "${READ_KEY}"\ncan = ["read"]\nchannels = ["system"]\n[channelstream]\nsecret = "a secret of the explorer"\n`,
  );
}, 30_000);
afterAll(() => stage?.stop());

async function openExplorer(opened: OpenPage, fragment = ""): Promise<void> {
  await opened.page.goto(`${stage.world.channel.url}/api-explorer${fragment}`);
  await opened.page.waitForSelector(".operation");
}

/** Opens an operation; all of its parts are below the result. */
async function open({ page }: OpenPage, id: string): Promise<Locator> {
  await page.click(`#${id} > summary`);
  const operation = page.locator(`#${id}`);
  await operation.locator("form button:has-text('Send')").waitFor();
  return operation;
}

/** Sends the call and returns the first line of its response. */
async function send(operation: Locator, level: "good" | "bad"): Promise<string> {
  await operation.locator("form button:has-text('Send')").click();
  const state = operation.locator(`.result .state[data-state="${level}"]`, { hasText: / B$/ });
  await state.waitFor();
  return (await state.textContent()) ?? "";
}

test("lists every operation in groups, and calls one with the session", async () => {
  const opened = await stage.admin();
  const { page } = opened;
  const client = await stage.world.connect();
  await client.join("system", { token: stage.world.token("system") });
  await opened.watched(async () => {
    await openExplorer(opened);
    const description: unknown = await (await fetch(`${stage.world.channel.url}/openapi.json`)).json();
    const listed = JSON.stringify(description).match(/"operationId"/g)?.length ?? 0;
    expect(await page.locator(".operation").count()).toBe(listed);
    expect(await page.locator("#groups h2").allTextContents()).toContain("Channelstream");
    await page.waitForSelector('#state:has-text("Signed in")');
    const publish = await open(opened, "postApiPublish");
    expect(await send(publish, "good")).toMatch(/^200 OK in [\d.]+ ms, \d+ B$/);
    expect((await client.event("update")).payload).toEqual({ hello: "from the API" });
    expect(JSON.parse((await publish.locator(".result > pre").textContent()) ?? "")).toEqual({
      listeners: 1,
    });
    await publish.locator("summary", { hasText: "Headers" }).click();
    expect(await publish.locator(".result .folded pre").textContent()).toContain(
      "content-type: application/json",
    );
    await publish.locator("summary", { hasText: "Errors" }).click();
    await publish
      .locator("tr", { hasText: "connection_not_in_channel" })
      .locator("td:has-text('404')")
      .waitFor();
    // A request to another host fails and violates the policy: both would be logged.
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
});

test("shows the error of a body that is not JSON, and puts the example back", async () => {
  const opened = await stage.admin();
  await opened.watched(async () => {
    await openExplorer(opened, "#postApiKick");
    // Opened by the fragment.
    const kick = opened.page.locator("#postApiKick");
    const body = kick.locator("textarea");
    const example = await body.inputValue();
    await body.fill("{");
    await kick.locator(".reply:has-text('Not JSON')").waitFor();
    expect(await send(kick, "bad")).toStartWith("400 Bad Request");
    expect(await kick.locator(".result > pre").textContent()).toContain('"code": "not_json"');
    await kick.locator("button:has-text('Example')").click();
    expect(await body.inputValue()).toBe(example);
    await kick.locator(".reply").waitFor({ state: "hidden" });
  });
  await opened.close();
});

test("a key is used instead of the session, and its rights hold", async () => {
  const opened = await openPage(stage.browser);
  const { page } = opened;
  await opened.watched(async () => {
    await openExplorer(opened);
    await page.waitForSelector('#state:has-text("Not signed in")');
    const channel = await open(opened, "getApiChannelsName");
    expect(await send(channel, "bad")).toStartWith("401");
    await page.fill("#key", READ_KEY);
    expect(await send(channel, "good")).toStartWith("200");
    await page.fill("#getApiChannelsName-name", "room:1");
    expect(await send(channel, "bad")).toStartWith("403");
    // Operations for anyone get no key.
    const health = await open(opened, "getHealth");
    const asked = page.waitForRequest((request) => request.url().endsWith("/health"));
    await send(health, "good");
    expect((await asked).headers().authorization).toBeUndefined();
  });
  await opened.close();
});

test("the curl command makes exactly this call, and holds no secret", async () => {
  const opened = await openPage(stage.browser);
  const { page } = opened;
  const client = await stage.world.connect();
  await client.join("curl", { token: stage.world.token("curl") });
  await opened.watched(async () => {
    await openExplorer(opened);
    await page.fill("#key", ADMIN_SECRET);
    const run = async (operation: Locator) => {
      const command = (await operation.locator(".outcome > pre").textContent()) ?? "";
      expect(command).not.toContain(ADMIN_SECRET);
      const shell = Bun.spawn(["sh", "-c", command], {
        env: { ...process.env, KEY: ADMIN_SECRET },
        stdout: "pipe",
        stderr: "ignore",
      });
      return new Response(shell.stdout).json();
    };
    const publish = await open(opened, "postApiPublish");
    const payload = { text: 'it\'s $HOME, `date` \\ "quoted"\n' };
    await publish
      .locator("textarea")
      .fill(JSON.stringify({ channel: "curl", event: "said", payload }, null, 2));
    expect(await run(publish)).toMatchObject({ listeners: 1 });
    expect((await client.event("said")).payload).toEqual(payload);
    const list = await open(opened, "getApiChannels");
    await page.fill("#getApiChannels-search", "no [such] & 'channel'");
    await page.fill("#getApiChannels-limit", "7");
    expect(await run(list)).toMatchObject({ matching: 0, channels: [] });
    await list.locator("pre", { hasText: "limit=7" }).waitFor();
    const lift = await open(opened, "deleteApiBansId");
    await page.fill("#deleteApiBansId-id", "a/b c");
    expect(await run(lift)).toMatchObject({ code: expect.any(String) });
  });
  await opened.close();
});

test("shows a stream as it arrives, until it is stopped", async () => {
  const opened = await stage.admin();
  await opened.watched(async () => {
    await openExplorer(opened);
    const messages = await open(opened, "getApiChannelsNameMessages");
    await opened.page.fill("#getApiChannelsNameMessages-name", "weather");
    await messages.locator("form button:has-text('Send')").click();
    await messages.locator('.result .state[data-state="good"]').waitFor();
    await stage.world.backend.publish("to:weather:wind", '{"knots":12}');
    await messages.locator(".result > pre", { hasText: "knots" }).waitFor();
    await messages.locator("button:has-text('Stop')").click();
    await messages.locator(".result .state", { hasText: "stopped" }).waitFor();
  });
  await opened.close();
});

test("filters, and finds nothing without an error", async () => {
  const opened = await openPage(stage.browser);
  const { page } = opened;
  await opened.watched(async () => {
    await openExplorer(opened);
    await page.fill("#filter", "post api/publish");
    await page.waitForFunction(() => document.querySelectorAll(".operation:not([hidden])").length === 1);
    await page.fill("#filter", NASTY);
    await page.waitForSelector("#nothing:has-text('No call matches.')");
    expect(await page.locator("main img, main script").count()).toBe(0);
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
});

test("signs Channelstream's calls", async () => {
  const opened = await stage.admin();
  const { page } = opened;
  await opened.watched(async () => {
    await openExplorer(opened);
    const connect = await open(opened, "channelstreampost_connect");
    const called = page.waitForResponse((response) => response.url().endsWith("/connect"));
    expect(await send(connect, "good")).toStartWith("200");
    const response = await called;
    expect(response.request().headers()["x-channelstream-secret"]).toMatch(/^explorer\.[\w-]+\.[\w-]{27}$/);
    expect(JSON.parse((await connect.locator(".result > pre").textContent()) ?? "")).toMatchObject({
      username: "alice",
      channels: ["pub_chan"],
    });
  });
  await opened.close();
});

/** The message list of the administration page: senders, filters, files. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import type { PhoenixClient } from "../../integration/phoenix-client.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
let alice: PhoenixClient;
beforeAll(async () => {
  stage = await startStage();
  alice = await stage.world.connect();
  await alice.join("room:1", { token: stage.world.token("room:1", { id: "alice" }) });
}, 30_000);
afterAll(() => stage?.stop());

/** Opens the channel, and has two messages of each kind in the list. */
async function openChannel(): Promise<Awaited<ReturnType<Stage["admin"]>>> {
  const opened = await stage.admin("#/channels/room%3A1");
  const { page } = opened;
  await page.waitForSelector('#inspect-state[data-state="good"]');
  for (const n of [1, 2]) {
    await stage.world.backend.publish("to:room:1:update", `{"n":${n}}`);
    await alice.ask({ topic: "room:1", joinRef: "1", event: "say", payload: `{"text":"hello ${n}"}` });
  }
  await shows(page, 4);
  return opened;
}

async function shows(page: Page, count: number): Promise<void> {
  await page.waitForFunction(
    (wanted) => document.querySelectorAll("#inspect-list .message:not([hidden])").length === wanted,
    count,
  );
}

test("rows name the sender; a filter by field narrows them; a saved filter stays over a reload, and is forgotten", async () => {
  const opened = await openChannel();
  const { page } = opened;
  await opened.watched(async () => {
    const senders = await page.locator("#inspect-list .message .channel").allTextContents();
    expect(senders.sort()).toEqual(["alice", "alice", "backend", "backend"]);
    await page.fill("#inspect-filter", "direction:in");
    await shows(page, 2);
    await page.fill("#inspect-filter", "sender:alice text:none");
    await shows(page, 0);
    await page.fill("#inspect-filter", "");
    await page.locator("#inspect-list .message:has-text('hello 2')").click();
    await page.click("#inspect-detail button:has-text('Only this sender')");
    await shows(page, 2);
    expect(await page.inputValue("#inspect-filter")).toBe("sender:alice");
    const saved = page.getByLabel("Saved filters");
    expect(await saved.isVisible()).toBe(false);
    await page.getByLabel("Save this filter").click();
    await page.reload();
    await page.waitForSelector("#content:not([hidden])");
    await saved.selectOption("sender:alice");
    expect(await page.inputValue("#inspect-filter")).toBe("sender:alice");
    await page.getByLabel("Forget this filter").click();
    await saved.waitFor({ state: "hidden" });
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
}, 60_000);

test("what is shown is downloaded as JSON lines and as CSV, oldest first", async () => {
  const opened = await openChannel();
  const { page } = opened;
  const download = async (selector: string): Promise<string> => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    expect(file.suggestedFilename()).toEndWith(selector.replace("#inspect-", "."));
    return readFileSync(await file.path(), "utf8");
  };
  await opened.watched(async () => {
    await page.fill("#inspect-filter", "event:say");
    await shows(page, 2);
    const lines = (await download("#inspect-jsonl")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { channel: "room:1", event: "say", sender: "alice", direction: "from", payload: { text: "hello 1" } },
      { payload: { text: "hello 2" } },
    ]);
    const [head, first] = (await download("#inspect-csv")).split("\r\n");
    expect(head).toBe("at,direction,channel,event,sender,size,truncated,payload");
    expect(first).toContain('from,room:1,say,alice,18,false,"{""text"":""hello 1""}"');
    expect(opened.console.all).toEqual([]);
  });
  await opened.close();
}, 60_000);

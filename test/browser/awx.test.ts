import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { findPython } from "../integration/python.ts";
import { type Program, startProgram } from "../integration/tangram/program.ts";
import { startWorld, type World } from "../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/* examples/awx: the Python program simulates two jobs, and the page follows one of them, then the other. */

const EXAMPLE = join(import.meta.dir, "../../examples/awx");

let world: World;
let browser: Browser;
let controller: Program;
let open: OpenPage;

beforeAll(async () => {
  world = await startWorld("redis", { args: ["--static-path", EXAMPLE] });
  controller = startProgram(
    [findPython("redis"), join(EXAMPLE, "controller.py"), "--pause", "0.02", "41", "42"],
    { env: { REDIS_URL: world.redis?.url ?? "" } },
  );
  await controller.lines.until((line) => line.startsWith("publishing"), "the start of the jobs", 20_000);
  browser = await launchChromium();
  open = await openPage(browser);
  await open.page.goto(`${world.channel.url}/`);
}, 60_000);

afterAll(async () => {
  await open?.close();
  await browser?.close();
  await controller?.stop();
  await world?.stop();
});

interface GroupsReply {
  readonly groups_left: readonly string[];
  readonly groups_joined: readonly string[];
  readonly groups_current: readonly string[];
}

/** The page's next message, and the server's reply. */
async function nextExchange(): Promise<{ sent: unknown; reply: GroupsReply }> {
  const sent = await open.frames.until(({ direction }) => direction === "sent", "a message from the page");
  const reply = await open.frames.until(({ data }) => data.includes('"groups_current"'), "the reply");
  return { sent: JSON.parse(sent.data), reply: JSON.parse(reply.data) };
}

/** Waits until the page shows output of a job; returns the lines. */
async function output(job: number): Promise<string[]> {
  const shown = open.page.locator("#output", { hasText: `(job ${job})` });
  await shown.waitFor();
  return ((await shown.textContent()) ?? "").split("\n").filter((line) => line !== "");
}

test("the page follows the status of all jobs and the events of the selected job only", () =>
  open.watched(async () => {
    const { page } = open;
    expect(await nextExchange()).toEqual({
      sent: { groups: { jobs: ["status_changed"] } },
      reply: {
        groups_current: ["jobs-status_changed"],
        groups_left: [],
        groups_joined: ["jobs-status_changed"],
      },
    });
    await page.getByText("connected as").waitFor();

    await page.getByRole("link", { name: "Job 41" }).click();
    expect(await nextExchange()).toEqual({
      sent: { groups: { jobs: ["status_changed"], job_events: [41] } },
      reply: {
        groups_current: ["jobs-status_changed", "job_events-41"],
        groups_left: [],
        groups_joined: ["job_events-41"],
      },
    });
    await page.getByRole("heading", { name: "Job 41" }).waitFor();
    for (const line of await output(41)) expect(line).toEndWith("(job 41)");

    await page.getByRole("link", { name: "Job 42" }).click();
    expect((await nextExchange()).reply).toEqual({
      groups_current: ["jobs-status_changed", "job_events-42"],
      groups_left: ["job_events-41"],
      groups_joined: ["job_events-42"],
    });
    const since = open.frames.all.length;
    for (const line of await output(42)) expect(line).toEndWith("(job 42)");
    const events = open.frames.all.slice(since).filter(({ data }) => data.includes('"job_events"'));
    expect(events.length).toBeGreaterThan(0);
    expect(events.filter(({ data }) => JSON.parse(data).job !== 42)).toEqual([]);

    await page.goBack();
    expect((await nextExchange()).reply).toMatchObject({
      groups_left: ["job_events-42"],
      groups_joined: ["job_events-41"],
    });
    await output(41);
    await page.getByText("jobs-status_changed, job_events-41").waitFor();
    expect(open.sockets.length).toBe(1);
    expect(open.console.all).toEqual([]);
  }));

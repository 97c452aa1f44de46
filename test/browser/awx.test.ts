import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { startChannel } from "../integration/channel-process.ts";
import { findPython } from "../integration/python.ts";
import { HAS_RABBIT, startRabbit } from "../integration/rabbit-process.ts";
import { type Program, startProgram } from "../integration/tangram/program.ts";
import { startWorld } from "../integration/world.ts";
import { launchChromium, type OpenPage, openPage } from "./chromium.ts";

/* examples/awx: the Python program simulates two jobs, and the page follows one of them, then the other. */

const EXAMPLE = join(import.meta.dir, "../../examples/awx");

/** A server that serves the example, and the environment of the controller. */
interface Stage {
  readonly url: string;
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const ARGS = ["--static-path", EXAMPLE];

const STAGES: Readonly<Record<string, () => Promise<Stage>>> = {
  Redis: async () => {
    const world = await startWorld("redis", { args: ARGS });
    return { url: world.channel.url, env: { REDIS_URL: world.redis?.url ?? "" }, stop: () => world.stop() };
  },
  ...(HAS_RABBIT ? { RabbitMQ: onRabbit } : {}),
};

async function onRabbit(): Promise<Stage> {
  const rabbit = await startRabbit();
  const channel = await startChannel({
    args: ["--bus", "amqp", ...ARGS],
    env: { CHANNEL_AMQP_URL: rabbit.url },
  });
  const stop = async (): Promise<void> => {
    await channel.stop();
    await rabbit.stop();
  };
  return { url: channel.url, env: { AMQP_URL: rabbit.url }, stop };
}

let stage: Stage;
let browser: Browser;
let controller: Program;
let open: OpenPage;

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser?.close());

async function start(bus: string): Promise<void> {
  const make = STAGES[bus];
  if (make === undefined) throw new Error(`no stage ${bus}`);
  stage = await make();
  controller = startProgram(
    [findPython("pika"), join(EXAMPLE, "controller.py"), "--pause", "0.02", "41", "42"],
    { env: stage.env },
  );
  await controller.lines.until((line) => line.startsWith("publishing"), "the start of the jobs", 20_000);
  open = await openPage(browser);
  await open.page.goto(`${stage.url}/`);
}

async function end(): Promise<void> {
  await open?.close();
  await controller?.stop();
  await stage?.stop();
}

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

describe.each(Object.keys(STAGES))("over %s", (bus) => {
  beforeAll(() => start(bus), 150_000);
  afterAll(end);

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
      // Events may have come since the reply.
      const replied = open.frames.all.findLastIndex(({ data }) => data.includes('"groups_current"'));
      for (const line of await output(42)) expect(line).toEndWith("(job 42)");
      const events = open.frames.all.slice(replied).filter(({ data }) => data.includes('"job_events"'));
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
});

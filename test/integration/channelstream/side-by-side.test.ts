import { expect, test } from "bun:test";
import { join } from "node:path";
import { CALLS, type Comparison } from "./calls.ts";
import {
  call,
  type Json,
  object,
  openSocket,
  startPolling,
  startReference,
  startRig,
  TRANSPORTS,
  type Transport,
} from "./rig.ts";

/** What Channelstream 0.7.1 answered to each call, in their order; written anew where `CAPTURE` is set. */
const FIXTURES = join(import.meta.dir, "answers.json");

interface Plain {
  readonly status: number;
  readonly body: unknown;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$/;

/** What is left to compare: no times, no ids, and no order where there is none. */
function plain(value: unknown): unknown {
  if (typeof value === "string") return UUID.test(value) ? "<uuid>" : TIME.test(value) ? "<time>" : value;
  if (Array.isArray(value)) {
    const items = value.map(plain);
    const unordered = items.every((item) => typeof item === "object" && item !== null && "state" in item);
    return unordered ? items.sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))) : items;
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => key !== "uptime" && key !== "version");
  return Object.fromEntries(
    entries.map(([key, one]) => [key, plain(one)] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Makes all calls, one after the other. */
async function answers(base: string): Promise<Plain[]> {
  const all: Plain[] = [];
  for (const { method, path, body, raw, signature } of CALLS) {
    const { status, body: answer } = await call(base, method, path, body, {
      headers: { accept: "application/json" },
      ...(signature === undefined ? {} : { signature }),
      ...(raw === undefined ? {} : { raw }),
    });
    all.push({ status, body: status >= 500 ? null : plain(answer) });
  }
  return all;
}

/** What we are to answer: what Channelstream does, unless we do otherwise on purpose. */
function due({ ours }: Comparison, theirs: Plain): Plain {
  return ours === undefined ? theirs : { status: ours.status, body: ours.body };
}

/** Calls whose answers differ, for the one who fixes it. */
function differences(got: readonly Plain[], theirs: readonly Plain[], exact: boolean): string[] {
  return CALLS.flatMap((comparison, index) => {
    const answer = got[index];
    const other = theirs[index];
    if (answer === undefined || other === undefined) return [`call ${index} was not made`];
    const want = exact ? other : due(comparison, other);
    const same =
      answer.status === want.status &&
      (want.body === undefined || JSON.stringify(answer.body) === JSON.stringify(plain(want.body)));
    if (same) return [];
    const { method, path, body } = comparison;
    return [
      `${index} ${method} ${path} ${JSON.stringify(body)?.slice(0, 100)}\n  want ${JSON.stringify(want)}\n  got  ${JSON.stringify(answer)}`,
    ];
  });
}

async function recorded(): Promise<Plain[]> {
  const read: unknown = await Bun.file(FIXTURES).json();
  if (!Array.isArray(read)) throw new Error("the fixtures are a list");
  return read.map((one) => {
    const { status, body } = object(one);
    return { status: Number(status), body };
  });
}

async function ours(): Promise<Plain[]> {
  const rig = await startRig();
  try {
    return await answers(rig.url);
  } finally {
    await rig.stop();
  }
}

test("a hundred calls and more are answered as Channelstream 0.7.1 answered them", async () => {
  expect(CALLS.length).toBeGreaterThan(100);
  expect(differences(await ours(), await recorded(), false)).toEqual([]);
}, 60_000);

test("Channelstream 0.7.1 beside ours still answers so", async () => {
  const reference = await startReference();
  try {
    const theirs = await answers(reference.url);
    if (process.env.CAPTURE) await Bun.write(FIXTURES, `${JSON.stringify(theirs, null, 1)}\n`);
    expect(differences(theirs, await recorded(), true)).toEqual([]);
  } finally {
    await reference.stop();
  }
}, 60_000);

/** What a returning client receives, and what is counted, with a user named twice and alternating channels. */
async function heard(base: string, transport: Transport): Promise<unknown> {
  const post = (path: string, body: unknown, method = "POST") => call(base, method, path, body);
  const channels = ["zebra", "\u{1f993}", "\uff5a", "ant", "Bee"];
  const { body } = await post("/connect", { username: "away", channels });
  const id = String(object(body).conn_id);
  const uuid = crypto.randomUUID();
  const say = (text: string, to: Json) => post("/message", [{ user: "app", message: { text }, ...to }]);
  for (let i = 0; i < 3; i++) {
    for (const channel of channels) await say(`${channel} ${i}`, { channel });
    await say(`private ${i}`, { pm_users: ["away", "nobody", "away"] });
  }
  await say("for two", { channel: "ant", pm_users: ["away", "away"] });
  await post("/message", [{ user: "app", message: { text: "gone" }, uuid, pm_users: ["away", "away"] }]);
  await post("/message", [{ uuid, pm_users: ["away", "away"] }], "DELETE");
  const ear = transport === "websocket" ? await openSocket(base, id) : startPolling(base, id);
  try {
    const live = { text: "live" };
    const missed: unknown[] = [];
    const put = ({ type, channel, message, catchup }: Json) => missed.push([type, channel, message, catchup]);
    // 19 of channels, 3 private ones twice, the deletion twice.
    while (missed.length < 5 * 3 + 1 + 3 * 2 + 2) put(await ear.inbox.next(10_000));
    await post("/message", [{ user: "app", message: live, pm_users: ["away", "away"] }]);
    while (missed.length < 5 * 3 + 1 + 3 * 2 + 2 + 2) put(await ear.inbox.next(10_000));
    const { body: totals } = await post("/admin/admin.json", {});
    const { total_messages, total_unique_messages } = object(totals);
    return { missed, total_messages, total_unique_messages };
  } finally {
    await ear.close();
  }
}

for (const transport of TRANSPORTS) {
  test(`catching up and being named twice are as with Channelstream 0.7.1, by ${transport}`, async () => {
    const reference = await startReference();
    const rig = await startRig();
    try {
      expect(await heard(rig.url, transport)).toEqual(await heard(reference.url, transport));
    } finally {
      await rig.stop();
      await reference.stop();
    }
  }, 60_000);
}

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { RedisFleetConnection } from "../../src/bus/redis/redis-fleet-connection.ts";
import { RedisWebhookStore } from "../../src/bus/redis/redis-webhooks.ts";
import { WEBHOOK_EVENTS, type WebhookEventName } from "../../src/config/webhook-events.ts";
import { MemoryWebhookStore } from "../../src/hub/webhooks/memory-webhooks.ts";
import {
  type ChangeKind,
  gapEvent,
  streamOf,
  type WebhookBatch,
  type WebhookStore,
} from "../../src/hub/webhooks/webhook-store.ts";
import { recordingLog } from "./bus-rig.ts";
import { eventually } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { startCluster, startSentinel } from "./redis-topologies.ts";

let redis: RedisProcess;
const ends: (() => unknown)[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  for (const end of ends.reverse()) await end();
  await redis?.stop();
});

interface Options {
  readonly events?: readonly WebhookEventName[];
  readonly maxEvents?: number;
  readonly vacantAfter?: number;
}

let installations = 0;

async function connect(url: string, options: Options, prefix: string): Promise<RedisWebhookStore> {
  const connection = new RedisFleetConnection({ url, prefix, log: recordingLog().log });
  const store = new RedisWebhookStore(connection, {
    ...options,
    events: new Set(options.events ?? WEBHOOK_EVENTS),
  });
  ends.push(() => store.stop());
  await new Promise<void>((opened) => store.start(opened));
  return store;
}

const openRedis = (options: Options = {}, prefix = `p${++installations}.`): Promise<RedisWebhookStore> =>
  connect(redis.url, options, prefix);

const openMemory = async (options: Options = {}): Promise<WebhookStore> =>
  new MemoryWebhookStore({ ...options, events: new Set(options.events ?? WEBHOOK_EVENTS) });

const CHANNEL = "room:1";
const STREAM = streamOf(CHANNEL);

/** Applies changes: `+alice`, `-alice`, `*alice` for a visit; without a name for anyone. */
async function write(store: WebhookStore, server: string, ...texts: string[]) {
  const kinds: Record<string, ChangeKind> = { "+": "present", "-": "absent", "*": "visited" };
  const changes = texts.map((text) => ({
    kind: kinds[text[0] ?? ""] ?? "present",
    user: text.length === 1 ? null : text.slice(1),
    at: 1000,
  }));
  return store.write(server, [{ channel: CHANNEL, changes }]);
}

async function batchOf(store: WebhookStore, owner = "me", stream = STREAM): Promise<WebhookBatch> {
  let batch: WebhookBatch | null = null;
  await eventually(async () => {
    const polled = await store.poll(stream, owner, false);
    batch = polled?.kind === "batch" ? polled.batch : null;
    return batch !== null;
  }, "a batch");
  if (batch === null) throw new Error("no batch");
  return batch;
}

/** Takes all events that wait: `member_added alice`. */
async function events(store: WebhookStore, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const batch = await batchOf(store);
    for (const { event, user } of batch.events) found.push(user === null ? event : `${event} ${user}`);
    expect(await store.finish(STREAM, "me", batch, "delivered")).toBe(true);
  }
  return found;
}

const STORES = [
  ["memory", openMemory],
  ["Redis", openRedis],
] as const satisfies readonly (readonly [string, (options?: Options) => Promise<WebhookStore>])[];

describe.each(STORES)("events for the webhook in %s", (_name, open) => {
  test("the first member occupies a channel, each user is added and removed once", async () => {
    const store = await open({ vacantAfter: 0 });
    await write(store, "s1", "+alice", "+bob", "+alice");
    await write(store, "s1", "-bob", "-bob", "-nobody");
    await write(store, "s1", "-alice");
    expect(await events(store, 6)).toEqual([
      "channel_occupied",
      "member_added alice",
      "member_added bob",
      "member_removed bob",
      "member_removed alice",
      "channel_vacated",
    ]);
    await write(store, "s1", "+alice");
    expect(await events(store, 2)).toEqual(["channel_occupied", "member_added alice"]);
  });

  test("a channel whose users are not distinguished is occupied and vacated only", async () => {
    const store = await open({ vacantAfter: 0 });
    await write(store, "s1", "+");
    await write(store, "s1", "-");
    expect(await events(store, 2)).toEqual(["channel_occupied", "channel_vacated"]);
  });

  test("a visit between two writes is a join and a leave", async () => {
    const store = await open({ vacantAfter: 0 });
    await write(store, "s1", "*alice");
    expect(await events(store, 4)).toEqual([
      "channel_occupied",
      "member_added alice",
      "member_removed alice",
      "channel_vacated",
    ]);
    await write(store, "s1", "+alice");
    await write(store, "s1", "*alice");
    expect(await events(store, 4)).toEqual([
      "channel_occupied",
      "member_added alice",
      "member_removed alice",
      "channel_vacated",
    ]);
  });

  test("a channel is not vacated if a member comes back in time", async () => {
    const store = await open({ vacantAfter: 60_000 });
    await write(store, "s1", "+alice");
    await write(store, "s1", "-alice");
    await write(store, "s1", "+alice");
    expect(await events(store, 4)).toEqual([
      "channel_occupied",
      "member_added alice",
      "member_removed alice",
      "member_added alice",
    ]);
  });

  test("only the events asked for are kept", async () => {
    const store = await open({ vacantAfter: 0, events: ["member_removed", "channel_vacated"] });
    await write(store, "s1", "+alice");
    await write(store, "s1", "-alice");
    expect(await events(store, 2)).toEqual(["member_removed alice", "channel_vacated"]);
    expect(await store.add(gapEvent(1))).toBe(0);
    expect((await store.status())?.backlog).toBe(0);
  });

  test("a batch stays the same until it is finished, whatever is added meanwhile", async () => {
    const store = await open();
    await write(store, "s1", "+alice");
    const first = await batchOf(store);
    await write(store, "s1", "+bob");
    expect(await batchOf(store)).toEqual(first);
    await store.finish(STREAM, "me", first, "delivered");
    const second = await batchOf(store);
    expect(second.id).not.toBe(first.id);
    expect(second.events).toEqual([{ event: "member_added", channel: CHANNEL, user: "bob", at: 1000 }]);
  });

  test("a batch holds a hundred events at most", async () => {
    const store = await open();
    await write(store, "s1", ...Array.from({ length: 250 }, (_, i) => `+u${i}`));
    expect((await store.status())?.backlog).toBe(251);
    const batch = await batchOf(store);
    expect(batch.events).toHaveLength(100);
    await store.finish(STREAM, "me", batch, "delivered");
    expect((await store.status())?.backlog).toBe(151);
  });

  test("one owner sends a stream until it gives the lease back", async () => {
    const store = await open();
    await write(store, "s1", "+alice");
    const batch = await batchOf(store);
    expect(await store.poll(STREAM, "other", false)).toEqual({ kind: "other" });
    expect(await store.finish(STREAM, "other", batch, "delivered")).toBe(false);
    await store.release(STREAM, "other");
    expect(await store.poll(STREAM, "other", true)).toEqual({ kind: "other" });
    await store.release(STREAM, "me");
    expect(await batchOf(store, "other")).toEqual(batch);
    expect(await store.finish(STREAM, "me", batch, "delivered")).toBe(false);
    expect(await store.finish(STREAM, "other", batch, "delivered")).toBe(true);
  });

  test("beyond the limit the oldest events are dropped, counted, and a gap is noted", async () => {
    const store = await open({ maxEvents: 5 });
    const dropped = await write(store, "s1", ..."abcdefgh".split("").map((name) => `+${name}`));
    const status = await store.status();
    expect(status?.backlog).toBe(5);
    // Nine events and the gap.
    expect(dropped).toBe(5);
    const left = await events(store, 5);
    expect(left).toContain("gap");
    expect(left.at(-1)).toBe("member_added h");
  });

  test("what is given up leaves a gap", async () => {
    const store = await open();
    await write(store, "s1", "+alice");
    await store.failed(STREAM, { at: 1, reason: "answered 500" });
    expect(await store.finish(STREAM, "me", await batchOf(store), "given up")).toBe(true);
    const batch = await batchOf(store);
    expect(batch.events.map(({ event, channel }) => `${event} ${channel}`)).toEqual(["gap *"]);
    expect((await store.status())?.lastError?.reason).toBe("answered 500");
    await store.finish(STREAM, "me", batch, "delivered");
    expect(await store.status()).toEqual({ backlog: 0, lastError: null });
  });

  test("names pass through unchanged", async () => {
    const store = await open();
    const user = '{"}: "\\ ünï😀 ';
    const channel = `a b:{x}*${user}`;
    await store.write("s1", [{ channel, changes: [{ user, kind: "present", at: 5 }] }]);
    const { events: found } = await batchOf(store, "me", streamOf(channel));
    expect(found).toEqual([
      { event: "channel_occupied", channel, user: null, at: 5 },
      { event: "member_added", channel, user, at: 5 },
    ]);
  });
});

describe("events of several servers in Redis", () => {
  test("a user on two servers is one member", async () => {
    const store = await openRedis({ vacantAfter: 0 });
    await write(store, "s1", "+alice");
    await write(store, "s2", "+alice", "+bob");
    await write(store, "s1", "-alice");
    await write(store, "s2", "-alice", "-bob");
    expect(await events(store, 6)).toEqual([
      "channel_occupied",
      "member_added alice",
      "member_added bob",
      "member_removed alice",
      "member_removed bob",
      "channel_vacated",
    ]);
  });

  test("it is known which members a server has, as long as it has any", async () => {
    const store = await openRedis();
    const { shared } = store;
    await write(store, "s1", "+alice", "+bob", "+");
    await write(store, "s2", "+alice");
    expect(new Set(await shared.serversOf(STREAM))).toEqual(new Set(["s1", "s2"]));
    expect(await shared.channelsOf(STREAM, "s1")).toEqual([CHANNEL]);
    expect(new Set(await shared.usersOf(CHANNEL, "s1"))).toEqual(new Set(["alice", "bob", null]));
    expect(await shared.usersOf(CHANNEL, "s2")).toEqual(["alice"]);
    await write(store, "s1", "-alice", "-bob", "-");
    expect(await shared.serversOf(STREAM)).toEqual(["s2"]);
    expect(await shared.channelsOf(STREAM, "s1")).toEqual([]);
    expect(await shared.usersOf(CHANNEL, "s1")).toEqual([]);
  });

  test("another store continues the batch of one that ended", async () => {
    const prefix = `p${++installations}.`;
    const [one, other] = [await openRedis({}, prefix), await openRedis({}, prefix)];
    await write(one, "s1", "+alice");
    const batch = await batchOf(one);
    await write(other, "s2", "+bob");
    one.stop();
    const backend = new Redis(redis.port, "127.0.0.1");
    ends.push(() => backend.disconnect());
    expect(await backend.pttl(`${prefix}hub:{w${STREAM}}:lease`)).toBeWithin(1, 10_001);
    // As when its time is over.
    await backend.del(`${prefix}hub:{w${STREAM}}:lease`);
    expect(await batchOf(other, "other")).toEqual(batch);
  });

  test("without Redis each call says so, and none waits for its return", async () => {
    const own = await startRedis();
    ends.push(() => own.stop());
    const store = await connect(own.url, {}, "");
    await own.down();
    await eventually(() => !store.ready, "the loss");
    expect(await write(store, "s1", "+alice")).toBeNull();
    expect(await store.add(gapEvent(1))).toBeNull();
    expect(await store.poll(STREAM, "me", false)).toBeNull();
    expect(await store.finish(STREAM, "me", { id: "1-1-1", at: 1, events: [] }, "delivered")).toBeNull();
    expect(await store.status()).toBeNull();
    expect(await store.shared.serversOf(STREAM)).toBeNull();
    expect(await store.shared.channelsOf(STREAM, "s1")).toBeNull();
    expect(await store.shared.usersOf(CHANNEL, "s1")).toBeNull();
    await store.failed(STREAM, { at: 1, reason: "unreachable" });
    await store.release(STREAM, "me");
  });

  test("the rights that docs/webhooks.md lists are enough, and a missing one is logged", async () => {
    const page = readFileSync(join(import.meta.dir, "../../docs/webhooks.md"), "utf8");
    const [rights = ""] = /\+time \+eval[^`]*/.exec(page) ?? [];
    const own = await startRedis([
      ...["--user", "enough", "on", ">x", "resetchannels", "~hub:*", ...rights.trim().split(/\s+/)],
      ...["--user", "less", "on", ">x", "resetchannels", "~hub:*", "+eval", "+evalsha", "+get"],
    ]);
    ends.push(() => own.stop());
    const urlOf = (user: string): string => `redis://${user}:x@127.0.0.1:${own.port}`;
    const store = await connect(urlOf("enough"), { vacantAfter: 0, maxEvents: 3 }, "");
    await write(store, "s1", "+alice", "+bob");
    await write(store, "s1", "-alice", "-bob");
    await store.failed(STREAM, { at: 1, reason: "unreachable" });
    expect(await store.finish(STREAM, "me", await batchOf(store), "given up")).toBe(true);
    expect((await store.status())?.lastError?.reason).toBe("unreachable");
    expect(await store.shared.serversOf(STREAM)).toEqual([]);
    expect(await store.shared.channelsOf(STREAM, "s1")).toEqual([]);
    expect(await store.shared.usersOf(CHANNEL, "s1")).toEqual([]);
    await store.release(STREAM, "me");

    const { log, entries } = recordingLog();
    const connection = new RedisFleetConnection({ url: urlOf("less"), refused: "refused", log });
    const refused = new RedisWebhookStore(connection, { events: new Set(WEBHOOK_EVENTS) });
    ends.push(() => refused.stop());
    await new Promise<void>((opened) => refused.start(opened));
    expect(await write(refused, "s1", "+alice")).toBeNull();
    expect(entries.map(({ message }) => message)).toEqual(["refused"]);
  });

  test.each([
    ["Sentinel", startSentinel],
    ["a cluster", startCluster],
  ] as const)(
    "with %s they are the same",
    async (_name, start) => {
      const store = await connect(await start(ends), { vacantAfter: 0 }, "c.");
      await write(store, "s1", "+alice");
      await write(store, "s1", "-alice");
      expect(await events(store, 4)).toEqual([
        "channel_occupied",
        "member_added alice",
        "member_removed alice",
        "channel_vacated",
      ]);
      expect(await store.status()).toEqual({ backlog: 0, lastError: null });
    },
    60_000,
  );
});

import { afterEach, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { WEBHOOK_EVENTS } from "../../../src/config/webhook-events.ts";
import { HookClient } from "../../../src/hooks/hook-client.ts";
import { type LostReason, WebhookSender } from "../../../src/hooks/webhook-sender.ts";
import { MemoryWebhookStore } from "../../../src/hub/webhooks/memory-webhooks.ts";
import { STREAMS, streamOf } from "../../../src/hub/webhooks/webhook-store.ts";
import { eventually } from "../../integration/phoenix-client.ts";

const SECRET = "the secret of this test";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Received {
  readonly id: string;
  readonly at: number;
  readonly events: readonly { event: string; channel: string; user?: string; at: number }[];
}

interface Rig {
  readonly store: MemoryWebhookStore;
  readonly sender: WebhookSender;
  /** Requests with a good signature, answered or not. */
  readonly received: Received[];
  readonly logged: string[];
  readonly counts: { delivered: number; failed: number; lost: Record<string, number> };
  join(channel: string, ...users: string[]): Promise<void>;
}

/** @param answer called with the number of requests before this one */
function rig(answer: (before: number) => Response | Promise<Response>, giveUpAfter?: number): Rig {
  const received: Received[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const body = await request.text();
      const [, time = "", sign = ""] =
        /^t=(\d+),v1=(\w+)$/.exec(request.headers.get("x-channel-signature") ?? "") ?? [];
      expect(sign).toBe(createHmac("sha256", SECRET).update(`${time}.${body}`).digest("hex"));
      received.push(JSON.parse(body));
      return answer(received.length - 1);
    },
  });
  const store = new MemoryWebhookStore({ events: new Set(WEBHOOK_EVENTS), vacantAfter: 0 });
  const logged: string[] = [];
  const counts: Rig["counts"] = { delivered: 0, failed: 0, lost: {} };
  const note = (message: string): void => void logged.push(message);
  const sender = new WebhookSender({
    store,
    client: new HookClient(SECRET),
    url: `http://127.0.0.1:${server.port}/hooks`,
    log: { debug: note, info: note, warn: note, error: note },
    delivered: (events) => {
      counts.delivered += events;
    },
    failed: () => {
      counts.failed++;
    },
    lost: (events, reason: LostReason) => {
      counts.lost[reason] = (counts.lost[reason] ?? 0) + events;
    },
    firstPause: 10,
    ...(giveUpAfter === undefined ? {} : { giveUpAfter }),
  });
  ends.push(
    () => server.stop(true),
    () => sender.stop(),
  );
  sender.start();
  const join: Rig["join"] = async (channel, ...users) => {
    const changes = users.map((user) => ({ user, kind: "present" as const, at: 7 }));
    await store.write("s1", [{ channel, changes }]);
  };
  return { store, sender, received, logged, counts, join };
}

const ok = (): Response => new Response(null, { status: 204 });

describe("the sender of a webhook", () => {
  test("sends what happened together in one request, signed", async () => {
    const { received, counts, join } = rig(ok);
    await join("room:1", "alice", "bob");
    await eventually(() => counts.delivered === 3, "three events");
    expect(received).toHaveLength(1);
    const [{ id, at, events } = { id: "", at: 0, events: [] }] = received;
    expect(id).not.toBe("");
    expect(Math.abs(Date.now() - at)).toBeLessThan(60_000);
    expect(events).toEqual([
      { event: "channel_occupied", channel: "room:1", at: 7 },
      { event: "member_added", channel: "room:1", user: "alice", at: 7 },
      { event: "member_added", channel: "room:1", user: "bob", at: 7 },
    ]);
  });

  test("repeats a request with its id until it is accepted, then sends what follows, in order", async () => {
    const { received, counts, join, logged, store } = rig((before) =>
      before < 3 ? new Response("no", { status: 500 }) : ok(),
    );
    const users = Array.from({ length: 250 }, (_, i) => `u${i}`);
    await join("room:1", ...users);
    await eventually(() => counts.delivered === 251, "all events");
    const rest = received.slice(1);
    for (const again of rest.slice(0, 3)) expect([again]).toEqual(received.slice(0, 1));
    const unique = [...new Map(received.map((each) => [each.id, each] as const)).values()];
    expect(unique.map(({ events }) => events.length)).toEqual([100, 100, 51]);
    expect(unique.flatMap(({ events }) => events.flatMap(({ user }) => user ?? []))).toEqual(users);
    expect(counts.failed).toBe(3);
    expect(logged).toEqual(["webhook failed, retrying", "webhook delivered again"]);
    expect(await store.status()).toEqual({ backlog: 0, lastError: null });
  });

  test("one stream that waits holds back no other", async () => {
    const channels = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const other = channels.find((name) => streamOf(name) !== streamOf("a")) ?? "";
    const held = Promise.withResolvers<Response>();
    const { received, counts, join } = rig((before) => (before === 0 ? held.promise : ok()));
    await join("a", "alice");
    await eventually(() => received.length === 1, "the first request");
    await join(other, "bob");
    await eventually(() => counts.delivered === 2, "the events of the other channel");
    expect(received).toHaveLength(2);
    held.resolve(ok());
    await eventually(() => counts.delivered === 4, "all events");
  });

  test.each([
    ["a redirect", () => Response.redirect("http://127.0.0.1:1/elsewhere", 302), /^answered 302, redirects/],
    ["a client error", () => new Response("", { status: 404 }), /^answered 404$/],
    ["too large an answer", () => new Response("x".repeat(2 * 1024 * 1024)), /^answer too large$/],
  ])("%s is a failure", async (_name, answer, reason) => {
    const seen = Promise.withResolvers<void>();
    const { store, counts, join } = rig(async (before) => {
      if (before === 0) return answer();
      await seen.promise;
      return ok();
    });
    await join("room:1", "alice");
    const error = await eventually(async () => (await store.status()).lastError, "the failure");
    expect(error.reason).toMatch(reason);
    expect(counts.failed).toBe(1);
    seen.resolve();
    await eventually(() => counts.delivered === 2, "the events");
  });

  test("what is not accepted in time is given up, counted and logged, and a gap follows", async () => {
    let works = false;
    const { received, counts, join, logged, store } = rig(
      () => (works ? ok() : new Response("", { status: 503 })),
      50,
    );
    await join("room:1", "alice");
    await eventually(() => (counts.lost.undelivered ?? 0) >= 2, "events given up");
    expect(logged).toContain("webhook events given up");
    works = true;
    await eventually(async () => (await store.status()).backlog === 0, "an empty backlog");
    expect(received.at(-1)?.events.map(({ event }) => event)).toEqual(["gap"]);
  });

  test("gives its streams back when it stops, and sends nothing afterwards", async () => {
    const { received, sender, store, counts, join } = rig(ok);
    await join("room:1", "alice");
    await eventually(() => counts.delivered === 2, "the events");
    await sender.stop();
    await join("room:1", "bob");
    expect((await store.poll(streamOf("room:1"), "next", true)).kind).toBe("idle");
    expect(received).toHaveLength(1);
    expect(sender.sends(0)).toBe(false);
  });

  test("does not send a stream that another server has", async () => {
    const { received, sender, store, counts, join } = rig(ok);
    const stream = streamOf("room:1");
    expect((await store.poll(stream, "other", true)).kind).toBe("idle");
    await join("room:1", "alice");
    await eventually(() => sender.sends((stream + 1) % STREAMS), "the lease of another stream");
    expect(sender.sends(stream)).toBe(false);
    expect(received).toEqual([]);
    await store.release(stream, "other");
    await eventually(() => counts.delivered === 2, "the events");
  });
});

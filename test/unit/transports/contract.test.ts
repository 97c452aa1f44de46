import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ConnectionContext } from "../../../src/transports/connection-context.ts";
import type { Session } from "../../../src/transports/session.ts";
import { createContext } from "./context.ts";
import { type Link, TRANSPORTS, until } from "./transports.ts";

const MAX_BUFFERED = 256 * 1024;

let context: ConnectionContext;
let link: Link | null;
/** Calls of the session, and the frames that it received. */
let calls: string[];

beforeEach(() => {
  context = createContext(MAX_BUFFERED);
  link = null;
  calls = [];
});

afterEach(async () => {
  await link?.stop();
  context.connections.stop();
});

function createSession(): Session {
  return {
    protocol: "test",
    users: [],
    channels: [],
    opened: () => calls.push("opened"),
    receive: (frame) => calls.push(String(frame)),
    closed: () => calls.push("closed"),
  };
}

describe.each(TRANSPORTS)("$name", ({ connect, topics, flushesOnClose, receives }) => {
  async function open(reads = true): Promise<Link> {
    link = await connect(context, createSession(), reads);
    return link;
  }

  test("a connection is counted, found by its id, and opens its session once", async () => {
    const { client } = await open();
    expect(calls).toEqual(["opened"]);
    expect(context.connections.get("c1")).toBe(client);
    expect(context.stats.connections).toMatchObject({ opened: 1, closed: 0 });
    expect(client.open).toBe(true);
  });

  test("frames reach the remote end complete and in order, small and large, and no backlog is left", async () => {
    const { client, received, ready } = await open();
    const sent: string[] = [];
    for (const size of [1, 1_000, 25_000, 1]) {
      await ready();
      const frames = [1, 2, 3, 4].map((number) => `${number}${"é".repeat(size)}`);
      for (const frame of frames) client.send(frame);
      sent.push(...frames);
      await until(() => received.length === sent.length);
    }
    expect(received).toEqual(sent);
    await until(() => client.buffered() === 0);
    expect(client.open).toBe(true);
  });

  if (receives)
    test("frames of the remote end reach the session in order, after a verification that they waited for", async () => {
      const { client, send, isWaiting } = await open();
      const verification = Promise.withResolvers<string>();
      client.after(verification.promise, (value) => calls.push(value));
      for (const frame of ["a", "b", "c"]) send(frame);
      await until(isWaiting);
      verification.resolve("verified");
      await until(() => calls.length === 5);
      expect(calls).toEqual(["opened", "verified", "a", "b", "c"]);
      expect(context.inbound.bytes).toBe(0);
    });

  test(
    topics ? "frames published to a topic arrive until it is unsubscribed" : "topics are not supported",
    async () => {
      const { client, received, publish, ready } = await open();
      await ready();
      expect(client.subscribe("t")).toBe(topics);
      publish("t", "published");
      client.send("sent");
      await until(() => received.includes("sent"));
      expect(received).toEqual(topics ? ["published", "sent"] : ["sent"]);
      client.unsubscribe("t");
      await ready();
      publish("t", "too late");
      client.send("last");
      await until(() => received.includes("last"));
      expect(received).not.toContain("too late");
    },
  );

  test("a client that does not read is cut off as slow, and its backlog is freed", async () => {
    const { client } = await open(false);
    const frame = "x".repeat(MAX_BUFFERED / 4);
    for (let count = 0; client.open && count < 10_000; count++) {
      client.send(frame);
      await Bun.sleep(0);
    }
    expect(client.wasCutOff).toBe(true);
    await until(() => context.connections.size === 0);
    expect(client.buffered()).toBe(0);
    expect(context.stats.closed).toMatchObject({ slow: 1 });
    expect(calls).toEqual(["opened", "closed"]);
  });

  test("closing ends the session at once, and the remote end gets what was sent before", async () => {
    const link = await open();
    const { client } = link;
    await link.ready();
    client.send("last");
    client.close(1001, "done");
    expect(calls.slice(0, 2)).toEqual(["opened", "closed"]);
    await until(() => link.ended && context.connections.size === 0);
    expect(link.received).toEqual(flushesOnClose ? ["last"] : []);
    expect(context.stats.connections).toMatchObject({ opened: 1, closed: 1 });
  });

  test("every method may be called after the end", async () => {
    const { client, ready } = await open();
    await ready();
    client.close(1001, "done");
    await until(() => context.connections.size === 0);
    client.send("late");
    expect(client.buffered()).toBe(0);
    client.subscribe("t");
    client.unsubscribe("t");
    client.ping();
    client.close(1001, "again");
    client.finish(1001, "again");
    client.dismiss(1001, "again");
    client.cutOff("silent");
    expect(client.open).toBe(false);
    expect(context.stats.connections).toMatchObject({ opened: 1, closed: 1 });
  });

  test("a connected client answers a ping with a sign of life", async () => {
    const { client, ready } = await open();
    await ready();
    client.lastSeen = 0;
    client.ping();
    await until(() => client.lastSeen > 0);
  });
});

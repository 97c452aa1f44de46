import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { PhoenixClient } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

interface Meta {
  readonly phx_ref: string;
  readonly phx_ref_prev?: string;
  readonly [name: string]: unknown;
}
interface Diff {
  readonly joins: Readonly<Record<string, { readonly metas: readonly Meta[] }>>;
  readonly leaves: Diff["joins"];
}

const TOML = `presence_window = "20ms"
[channels."room:*"]
presence_meta = true
[channels."crowd:*"]
presence = "count"
presence_meta = true
`;

for (const bus of BUSES) {
  describe(`metadata of presence on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: TOML });
    });
    afterAll(() => world.stop());

    const join = async (topic: string, id: string, presence?: unknown, claims = {}) => {
      const client = await world.connect();
      const token = world.token(topic, { id, ...claims });
      const payload = presence === undefined ? { token } : { token, presence };
      return { client, reply: await client.join(topic, payload) };
    };
    const diffOf = async (client: PhoenixClient): Promise<Diff> => {
      const { text } = await client.event("presence_diff");
      return JSON.parse(text)[4];
    };
    const update = (client: PhoenixClient, topic: string, payload: string) =>
      client.ask({ topic, event: "presence", payload });

    test("the metadata of a join is shown beside phx_ref and online_at", async () => {
      const { client } = await join("room:join", "alice", { name: "Alice", phx_ref: "forged", online_at: 0 });
      const state = JSON.parse((await client.event("presence_state")).text)[4];
      const [meta] = state.alice.metas;
      expect(Object.keys(meta)).toEqual(["phx_ref", "online_at", "name"]);
      expect(meta.name).toBe("Alice");
      expect(meta.phx_ref).not.toBe("forged");
      expect((await diffOf(client)).joins.alice?.metas[0]).toEqual(meta);
    });

    test("an update is one diff, with the new meta as a join and the old one as a leave", async () => {
      const topic = "room:update";
      const backend = await world.backend.listen(`to:${topic}:presence_diff`);
      const pushes = await world.backend.listenToPushes(topic);
      const { client } = await join(topic, "alice", { mood: "fine" });
      const before = (await diffOf(client)).joins.alice?.metas[0];
      expect((await update(client, topic, '{"mood":"busy","n":1.50}')).status).toBe("ok");
      const frame = await client.event("presence_diff");
      expect(frame.text).toContain('"mood":"busy","n":1.50}');
      const { joins, leaves }: Diff = JSON.parse(frame.text)[4];
      expect(leaves).toEqual({ alice: { metas: [before] } } as never);
      const [after, ...more] = joins.alice?.metas ?? [];
      expect(more).toEqual([]);
      expect(after).toMatchObject({ mood: "busy", phx_ref_prev: before?.phx_ref });
      expect(after?.phx_ref).not.toBe(before?.phx_ref);
      // Backends get the same, and no push.
      await backend.until((each) => each.payload.includes("busy"), "the diff");
      await client.ask({ topic, event: "other", payload: "1" });
      await pushes.until((each) => each.name === `from:${topic}:other`, "the push");
      expect(pushes.all.filter((each) => each.name.endsWith(":presence"))).toEqual([]);
    });

    test("an update that changes nothing costs no diff, and does not count", async () => {
      const topic = "room:same";
      const { client } = await join(topic, "alice", { a: 1 });
      await diffOf(client);
      for (let i = 0; i < 30; i++) expect((await update(client, topic, '{"a":1}')).status).toBe("ok");
      expect((await update(client, topic, '{"a":2}')).status).toBe("ok");
      expect((await diffOf(client)).joins.alice?.metas[0]?.a).toBe(2);
      expect(client.frames.all.filter(({ event }) => event === "presence_diff")).toHaveLength(2);
    });

    test("more than ten updates within a second are too many", async () => {
      const topic = "room:often";
      const { client } = await join(topic, "alice");
      client.sendTogether(
        Array.from({ length: 40 }, (_, n) => ({
          ref: `n${n}`,
          topic,
          event: "presence",
          payload: `{"n":${n}}`,
        })),
      );
      for (let n = 0; n < 10; n++) expect((await client.reply(`n${n}`)).status).toBe("ok");
      // Ten more for each second that a busy machine needs for them.
      const rest: unknown[] = [];
      for (let n = 10; n < 40; n++) rest.push((await client.reply(`n${n}`)).response);
      expect(rest).toContainEqual({ reason: "rate limited" });
    });

    test("what is no object, or larger than 1 KiB, is refused", async () => {
      const large = { text: "x".repeat(1024) };
      for (const presence of [1, [], "text", null, large]) {
        const { reply } = await join("room:bad", "alice", presence);
        expect([reply.status, reply.response]).toEqual(["error", { reason: "invalid presence" }]);
      }
      const { client } = await join("room:bad", "alice");
      for (const payload of ["1", "[]", '"text"', "null", JSON.stringify(large)]) {
        const { response } = await update(client, "room:bad", payload);
        expect(response).toEqual({ reason: "invalid presence" });
      }
    });

    test("without the permission for presence there is no metadata", async () => {
      const topic = "room:forbidden";
      const { client: watcher } = await join(topic, "watcher");
      await diffOf(watcher);
      const { client, reply } = await join(topic, "alice", { a: 1 }, { can: ["join", "push"] });
      expect(reply.status).toBe("ok");
      expect(Object.keys((await diffOf(watcher)).joins.alice?.metas[0] ?? {})).toEqual([
        "phx_ref",
        "online_at",
      ]);
      expect((await update(client, topic, "{}")).response).toEqual({ reason: "forbidden" });
    });

    test("where presence_meta is off the event goes to backends", async () => {
      const topic = "plain";
      const pushes = await world.backend.listenToPushes(topic);
      const { client } = await join(topic, "alice");
      expect((await update(client, topic, "[7]")).status).toBe("ok");
      await pushes.until((each) => each.name === "from:plain:presence", "the push");
    });
  });

  describe(`counted presence on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: TOML });
    });
    afterAll(() => world.stop());

    test("members get the count at most once a second, and no lists", async () => {
      const topic = "crowd:1";
      const watcher = await world.connect();
      const began = performance.now();
      await watcher.join(topic, { token: world.token(topic, { id: "watcher" }) });
      expect((await watcher.event("presence_count")).payload).toEqual({ count: 1 });
      /** Waits for a count: on a busy machine one or more are sent before all have joined or left. */
      const untilCount = (count: number) =>
        watcher.frames.until(
          ({ event, payload }) => event === "presence_count" && Object(payload).count === count,
          `a count of ${count}`,
        );
      const others = [];
      for (let i = 0; i < 20; i++) {
        const client = await world.connect();
        await client.join(topic, { token: world.token(topic, { id: `user ${i}` }) });
        others.push(client);
      }
      await untilCount(21);
      for (const client of others.slice(0, 5)) await client.ask({ topic, event: "phx_leave" });
      await untilCount(16);
      // One may arrive late and the next one in time, but all of them not within less time than they were sent in.
      const counts = watcher.frames.all.filter(({ event }) => event === "presence_count").length;
      expect(performance.now() - began).toBeGreaterThan((counts - 1) * 1000 - 50);
      const events = new Set(
        [...watcher.frames.all, ...others.flatMap((each) => each.frames.all)].map((f) => f.event),
      );
      expect(events).toEqual(new Set(["phx_reply", "presence_count", "phx_close"]));
    });

    test("who may not see presence gets no count", async () => {
      const topic = "crowd:2";
      const blind = await world.connect();
      await blind.join(topic, { token: world.token(topic, { id: "blind", can: ["join"] }) });
      const watcher = await world.connect();
      await watcher.join(topic, { token: world.token(topic, { id: "watcher" }) });
      expect((await watcher.event("presence_count")).payload).toEqual({ count: 2 });
      expect((await blind.fence()).map(({ event }) => event)).not.toContain("presence_count");
    });
  });
}

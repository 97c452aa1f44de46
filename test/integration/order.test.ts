import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync, sign } from "node:crypto";
import {
  eventually,
  type Frame,
  type PhoenixClient,
  type Transport,
  VERSIONS,
  type Version,
  WAYS,
} from "./phoenix-client.ts";
import { type Random, randomFrom, SEED } from "./random.ts";
import { frame } from "./websocket.ts";
import { BUSES, startWorld, type World } from "./world.ts";

/**
 * A key that only asynchronous code verifies: frames that follow a join in one write have to wait for it. HS256 may be
 * verified at once, so both are tried.
 */
const KEYS = generateKeyPairSync("ed25519");
const PEM = KEYS.publicKey.export({ type: "spki", format: "pem" }).toString();

function signed(claims: Readonly<Record<string, unknown>>): string {
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "EdDSA", typ: "JWT" })}.${part({ exp, ...claims })}`;
  return `${text}.${sign(null, Buffer.from(text), KEYS.privateKey).toString("base64url")}`;
}

const KINDS = ["HS256", "EdDSA"] as const;
type Kind = (typeof KINDS)[number];

/** How long the publisher runs in each test under load. */
const LOAD_MS = 1000;
const LEAST = 400;
const MEMBERS = 8;

for (const bus of BUSES) {
  describe(`order on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, {
        toml: `jwt_public_key = '''\n${PEM}'''\n[limits]\nframes_per_second = 10000\n`,
      });
    });
    afterAll(() => world.stop());
    const tokenOf = (kind: Kind, id: string, channel: string): string =>
      kind === "HS256" ? world.token(channel, { id }) : signed({ id, channel });

    for (const kind of KINDS) {
      for (const { vsn, transport, way } of WAYS) {
        test(`under load no message is lost and none arrives before the state, ${kind}, ${way}`, async () => {
          const topic = `load:${kind}:${way}`;
          const publisher = publishNumbers(world, topic);
          const random = randomFrom(SEED);
          try {
            const members = Array.from({ length: MEMBERS }, (_, i) =>
              wander(world, {
                topic,
                vsn,
                transport,
                random,
                token: tokenOf(kind, `user ${i}`, topic),
                publisher,
              }),
            );
            const memberships = (await Promise.all(members)).reduce((sum, each) => sum + each, 0);
            expect(memberships).toBeGreaterThan(MEMBERS);
          } finally {
            await publisher.stop();
          }
        }, 60_000);
      }

      test(`a join, a leave and a close in one write leave no member present, ${kind}`, async () => {
        const topic = `gone:${kind}`;
        const watcher = await world.connect();
        await watcher.join(topic, { token: tokenOf(kind, "watcher", topic) });
        const payload = JSON.stringify({ token: tokenOf(kind, "ghost", topic) });
        const join = { joinRef: "1", ref: "1", topic, event: "phx_join", payload };
        const leave = { joinRef: "1", ref: "2", topic, event: "phx_leave" };
        const again = { joinRef: "3", ref: "3", topic, event: "phx_join", payload };
        const close = frame(8, Buffer.from([3, 232]));
        const endings: ((client: PhoenixClient) => void)[] = [
          (client) => client.sendTogether([join, leave], close),
          (client) => client.sendTogether([join], close),
          (client) => client.sendTogether([join, leave, again], close),
          (client) => {
            client.sendTogether([join, leave, again]);
            client.socket.cut();
          },
          (client) => {
            client.sendTogether([join]);
            client.socket.cut();
          },
        ];
        for (let i = 0; i < 60; i++) {
          const client = await world.connect({ vsn: VERSIONS[i % 2] ?? "2.0.0" });
          endings[i % endings.length]?.(client);
          await client.socket.closed;
        }
        /** The members in the state that a new client receives. */
        const present = async (id: string): Promise<string[]> => {
          const late = await world.connect();
          await late.join(topic, { token: tokenOf(kind, id, topic) });
          const state = await late.event("presence_state");
          late.socket.cut();
          return Object.keys(Object(state.payload)).sort();
        };
        await eventually(async () => !(await present("probe")).includes("ghost"), "a channel without ghosts");
        // A verification that was pending when its socket closed has ended by now.
        await Bun.sleep(300);
        // Those who looked may not be gone yet.
        const found = (await present("late")).filter((id) => id !== "probe");
        expect(found).toEqual(["late", "watcher"]);
        await watcher.frames.until((each) => each.text.includes('"late"'), "the diff of the late one");
        const ghosts = new Set<string>();
        for (const { event, payload } of watcher.frames.all) {
          if (event !== "presence_diff") continue;
          const { joins, leaves } = Object(payload);
          for (const { phx_ref } of Object(joins.ghost).metas ?? []) ghosts.add(phx_ref);
          for (const { phx_ref } of Object(leaves.ghost).metas ?? []) ghosts.delete(phx_ref);
        }
        expect([...ghosts]).toEqual([]);
      }, 20_000);

      test(`handles frames sent in one write with a join after the join, ${kind}`, async () => {
        const topic = `together:${kind}`;
        const received = await world.backend.listen(`from:${topic}:*`);
        for (const { vsn, transport } of WAYS) {
          const client = await world.connect({ transport, vsn });
          const payload = JSON.stringify({ token: tokenOf(kind, "alice", topic) });
          client.sendTogether([
            { joinRef: "1", ref: "1", topic, event: "phx_join", payload },
            { joinRef: "1", ref: "2", topic, event: "first", payload: "1" },
            { ref: "3", topic: "phoenix", event: "heartbeat" },
            { joinRef: "1", ref: "4", topic, event: "phx_leave" },
            { joinRef: "1", ref: "5", topic, event: "second", payload: "2" },
            { joinRef: "6", ref: "6", topic, event: "phx_join", payload },
            { joinRef: "6", ref: "7", topic, event: "third", payload: "3" },
          ]);
          await client.reply("7");
          const answers = client.frames.all.filter((each) => each.event === "phx_reply");
          expect(new Map(answers.map((each) => [each.ref, Object(each.payload).status]))).toEqual(
            new Map([
              ["1", "ok"],
              ["2", "ok"],
              ["3", "ok"],
              ["4", "ok"],
              ["5", "error"],
              ["6", "ok"],
              ["7", "ok"],
            ]),
          );
          const names: string[] = [];
          while (names.at(-1) !== `from:${topic}:third`) names.push((await received.next()).name);
          expect(names.map((name) => name.slice(`from:${topic}:`.length))).toEqual([
            ...["phx_join", "first", "phx_leave", "phx_join", "third"],
          ]);
        }
      });
    }

    test("delivers a broadcast sent after the reply to the join", async () => {
      for (let i = 0; i < 100; i++) {
        const client = await world.connect(WAYS[i % WAYS.length]);
        const joined = client.join("prompt", {
          token: tokenOf(KINDS[(i >> 1) % 2] ?? "HS256", "alice", "prompt"),
        });
        expect((await joined).status).toBe("ok");
        await world.backend.publish("to:prompt:now", String(i));
        expect((await client.event("now")).payload).toBe(i);
        client.socket.cut();
      }
    }, 20_000);
  });
}

interface Publisher {
  /** The number of the last message published; numbers begin with 1. */
  sent(): number;
  readonly done: boolean;
  stop(): Promise<void>;
}

/** Publishes 1, 2, 3, ... as fast as the bus accepts them, for LOAD_MS and up to LEAST at least. */
function publishNumbers(world: World, topic: string): Publisher {
  let sent = 0;
  let done = false;
  let stopped = false;
  const running = (async () => {
    const end = performance.now() + LOAD_MS;
    while (!stopped && (performance.now() < end || sent < LEAST)) {
      const batch: Promise<number>[] = [];
      for (let i = 0; i < 40; i++) batch.push(world.backend.publish(`to:${topic}:n`, String(++sent)));
      await Promise.all(batch);
    }
    done = true;
  })();
  return {
    sent: () => sent,
    get done() {
      return done;
    },
    stop: async () => {
      stopped = true;
      await running;
    },
  };
}

interface Walk {
  readonly topic: string;
  readonly vsn: Version;
  readonly transport: Transport;
  readonly token: string;
  readonly random: Random;
  readonly publisher: Publisher;
}

/** One client that joins, rejoins, leaves and reconnects at random while numbers are published. Returns the number of joins. */
async function wander(world: World, walk: Walk): Promise<number> {
  const { topic, vsn, transport, random, publisher } = walk;
  const payload = JSON.stringify({ token: walk.token });
  let joins = 0;
  let client = await world.connect({ transport, vsn });
  let watch = watchOrder(client, walk);
  let ref = 0;
  // Twice at least, however busy the machine.
  while (!publisher.done || joins < 2) {
    const joinRef = `j${++ref}`;
    watch.expectJoin(joinRef);
    client.send({ joinRef, ref: joinRef, topic, event: "phx_join", payload });
    await watch.joined(joinRef);
    joins++;
    await Bun.sleep(random.int(30));
    const dice = random.int(4);
    if (dice === 0) {
      client.send({ joinRef, ref: `l${ref}`, topic, event: "phx_leave" });
      if (random.chance(0.5)) await watch.left();
    } else if (dice === 1) {
      watch.end();
      if (random.chance(0.5)) client.socket.cut();
      else await client.socket.close();
      client = await world.connect({ transport, vsn });
      watch = watchOrder(client, walk);
    }
    // Else joins again on the same socket.
  }
  client.send({ ref: "end", topic: "phoenix", event: "heartbeat" });
  await watch.fenced();
  watch.end();
  expect(watch.faults()).toEqual([]);
  return joins;
}

interface Watch {
  expectJoin(joinRef: string): void;
  joined(joinRef: string): Promise<void>;
  left(): Promise<void>;
  fenced(): Promise<void>;
  end(): void;
  faults(): string[];
}

/** Checks every frame as it arrives, and records violations of the order. */
function watchOrder(client: PhoenixClient, { topic, vsn, publisher }: Walk): Watch {
  const faults: string[] = [];
  /** State of the socket: not joined, replied but without state, with state but without its diff, joined. */
  let phase: "out" | "replied" | "stated" | "in" = "out";
  let joinRef = "";
  /** The last number, or `null` until the first; and what had been sent when the join was answered. */
  let last: number | null = null;
  let sentAtReply = 0;
  let ended = false;
  const asked = new Map<string, PromiseWithResolvers<void>>();
  const fence = Promise.withResolvers<void>();
  let leaving = Promise.withResolvers<void>();
  const fault = (text: string, each: Frame): void => {
    if (faults.length < 5) faults.push(`${text} (${phase}, ${joinRef}): ${each.text.slice(0, 150)}`);
  };

  const see = (each: Frame): void => {
    if (each.event === "phx_reply") {
      if (each.ref === "end") return fence.resolve();
      const join = asked.get(String(each.ref));
      if (join === undefined) return;
      if (phase !== "out") fault("a join answered before the old membership was closed", each);
      if (Object(each.payload).status !== "ok") fault("a join refused", each);
      phase = "replied";
      joinRef = String(each.ref);
      last = null;
      sentAtReply = publisher.sent();
      leaving = Promise.withResolvers<void>();
      join.resolve();
    } else if (each.topic !== topic) {
      fault("a frame of another topic", each);
    } else if (each.event === "phx_close") {
      if (phase === "out") fault("a close of what was closed", each);
      if (each.ref !== joinRef) fault("a close of another membership", each);
      phase = "out";
      leaving.resolve();
    } else if (phase === "out") {
      fault("early or late", each);
    } else if (each.event === "presence_state") {
      if (phase !== "replied") fault("a second state", each);
      if (vsn === "2.0.0" && each.joinRef !== joinRef) fault("a state for another join", each);
      phase = "stated";
    } else if (phase === "replied") {
      fault("before the state", each);
    } else if (each.event === "presence_diff") {
      phase = "in";
    } else if (phase === "stated") {
      fault("before the diff", each);
    } else if (each.event === "n") {
      const n = Number(each.payload);
      if (last === null && n > sentAtReply + 1)
        fault(`the first is ${n}, ${sentAtReply} were sent at the reply`, each);
      if (last !== null && n !== last + 1) fault(`after ${last}`, each);
      last = n;
    } else fault("unknown", each);
  };

  void (async () => {
    try {
      for (;;) see(await client.frames.next(60_000));
    } catch (error) {
      if (!ended) faults.push(String(error));
      const closed = new Error("the socket closed");
      for (const each of asked.values()) each.reject(closed);
      for (const each of asked.values()) each.promise.catch(() => {});
      fence.promise.catch(() => {});
      fence.reject(closed);
    }
  })();

  return {
    expectJoin: (ref) => void asked.set(ref, Promise.withResolvers<void>()),
    joined: async (ref) => asked.get(ref)?.promise,
    left: () => leaving.promise,
    fenced: () => fence.promise,
    end: () => {
      ended = true;
      if (faults.length > 0) throw new Error(faults.join("\n"));
    },
    faults: () => faults,
  };
}

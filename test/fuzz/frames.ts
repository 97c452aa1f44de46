import { V1, V2 } from "../../src/protocols/phoenix/phoenix-codec.ts";
import { PhoenixSession } from "../../src/protocols/phoenix/phoenix-session.ts";
import { jsonText, space } from "../unit/protocols/phoenix/fuzz/json-text.ts";
import type { Random } from "../unit/protocols/phoenix/fuzz/random.ts";
import type { FakeClient } from "../unit/protocols/phoenix/world.ts";
import { channelName, deep, eventName, mutated, mutatedBytes, randomBytes } from "./inputs.ts";
import { type Expected, type Fields, Model, readBinary, readText } from "./phoenix-model.ts";
import type { Target } from "./target.ts";
import { createFuzzWorld, type FuzzWorld, inconsistency, MAX_CHANNELS, permissions } from "./world.ts";

const TOKENS = [
  "brief",
  "alice",
  "alice",
  "alice",
  "bob",
  "__proto__",
  "narrow",
  "mute",
  "shut",
  "bad",
  "expired",
] as const;
const REFS = ["1", "1", "2", "3", "", "é", "__proto__", "x".repeat(64), "x".repeat(65), "\ud800"] as const;

interface Peer {
  readonly client: FakeClient;
  readonly session: PhoenixSession;
  readonly model: Model;
  /** Resolves the token that this client waits for; `null` if there is none. */
  found: (() => void) | null;
  /** Frames sent since then, the one with that token first. */
  held: (Fields | null)[];
}

/** Frames of Phoenix clients, V1, V2 and binary, against a model of what each must be answered. */
export async function frames(random: Random): Promise<Target> {
  const world = await createFuzzWorld();
  const peers = Array.from({ length: 6 }, () => connectPeer(random, world));
  return {
    input() {
      const at = random.next(peers.length);
      const peer = peers[at];
      if (peer === undefined || !peer.client.open) {
        peer?.client.hangUp();
        if (peer !== undefined) world.clients.delete(peer.client);
        peers[at] = connectPeer(random, world);
        return null;
      }
      const chance = random.next(1000);
      if (chance < 4) peer.client.hangUp();
      else if (chance < 6) world.bus.turn(!world.bus.state.live);
      else if (chance < 8) peer.client.dismiss(1001, "disconnected");
      else if (chance < 50) world.bus.turnAround();
      else if (chance < 52) return runTimers(world, peers);
      else if (chance === 52) peer.client.stalled = true;
      else if (peer.found !== null && chance < 300) return resolveToken(world, peer);
      else return sendFrame(random, world, peer);
      for (const { client } of peers) client.take();
      return null;
    },
    check: () => inconsistency(world) ?? memberships(peers),
    stop: () => world.stop(),
  };
}

function connectPeer(random: Random, world: FuzzWorld): Peer {
  const client = world.newClient();
  const version = random.pick([1, 2, null] as const);
  const token = random.pick([null, "alice", "bad", "carol"] as const);
  const session = new PhoenixSession(world.phoenix, client, {
    codec: version === null ? null : version === 1 ? V1 : V2,
    binary: random.chance(50),
    token,
    administrator: null,
  });
  client.session = session;
  client.connect();
  const model = new Model(version, token, MAX_CHANNELS, permissions);
  return { client, session, model, found: null, held: [] };
}

/** Runs what waits for the clock: expired tokens, clients to disconnect. */
async function runTimers(world: FuzzWorld, peers: readonly Peer[]): Promise<null> {
  world.context.tick();
  for (const { model, session } of peers) model.expire((topic) => session.channels.includes(topic));
  await new Promise((resolve) => setTimeout(resolve, 0));
  for (const { client } of peers) client.frames.length = 0;
  return null;
}

/** Sends one frame and compares the answer with the model's. */
function sendFrame(random: Random, world: FuzzWorld, peer: Peer): string | null {
  const { client, model } = peer;
  const input = frameOf(random, model.version ?? random.pick([1, 2] as const));
  client.frames.length = 0;
  client.receive(input);
  world.bus.pushed = [];
  // A waiting socket chooses its version with its first frame, which is the one that waits.
  const fields = typeof input === "string" ? readText(input, model) : readBinary(input, model);
  if (peer.found !== null) {
    peer.held.push(fields);
    return compare(client, model, []);
  }
  return handled(world, peer, [fields]);
}

/** Resolves the token: the frames sent meanwhile are handled in order, up to the next one that waits. */
async function resolveToken(world: FuzzWorld, peer: Peer): Promise<string | null> {
  const { found, held, client } = peer;
  client.frames.length = 0;
  peer.found = null;
  peer.held = [];
  found?.();
  for (let i = 0; i < 4; i++) await Promise.resolve();
  return handled(world, peer, held, true);
}

function handled(
  world: FuzzWorld,
  peer: Peer,
  frames: readonly (Fields | null)[],
  isFound = false,
): string | null {
  const { client, model } = peer;
  const expected: Expected[] = [];
  for (const [i, fields] of frames.entries()) {
    const waits = model.tokenOf(fields)?.startsWith("far-") === true && !(isFound && i === 0);
    // A client that does not read is disconnected at the first answer, and its later frames are not handled.
    if (client.stalled && !client.open) break;
    if (waits) {
      peer.found = world.waiting.pop() ?? null;
      peer.held = frames.slice(i);
      if (peer.found === null) return "a token elsewhere was not looked up";
      break;
    }
    expected.push(model.judge(fields, world.bus.state.live));
    if (model.dismissed) break;
  }
  return compare(client, model, expected);
}

/** The answers among the frames that were sent must be those expected, and no others. */
function compare(client: FakeClient, model: Model, expected: readonly Expected[]): string | null {
  const got = client.frames.flatMap(answerIn);
  const wanted = expected.flatMap((each) => {
    if (each.kind === "silence") return [];
    if (each.kind === "malformed") return ["malformed"];
    return [JSON.stringify([each.ref, each.status, each.reason])];
  });
  client.frames.length = 0;
  // A client that does not read receives nothing, and is disconnected.
  if (client.stalled) return null;
  if (client.open === model.dismissed) return model.dismissed ? "was not dismissed" : "was dismissed";
  if (got.join("\n") === wanted.join("\n")) return null;
  return `was answered ${got.join(" ")} and not ${wanted.join(" ")}`;
}

/** What a frame answers: `[ref, status, reason]`, or that it was malformed; nothing for all others. */
function answerIn(frame: string): string[] {
  const value: unknown = JSON.parse(frame);
  if (typeof value === "string") return [];
  const [, ref, , event, payload] = Array.isArray(value) ? value : elementsOf(value);
  if (event === "phx_error" && ref === null) {
    return reasonIn(payload)?.startsWith("malformed frame: ") ? ["malformed"] : [];
  }
  if (event !== "phx_reply" || typeof payload !== "object" || payload === null) return [];
  const status: unknown = "status" in payload ? payload.status : undefined;
  const reason = "response" in payload ? reasonIn(payload.response) : null;
  return [JSON.stringify([ref, status, reason])];
}

function elementsOf(value: unknown): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  const own = (name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;
  return [null, own("ref"), own("topic"), own("event"), own("payload")];
}

function reasonIn(value: unknown): string | null {
  if (typeof value !== "object" || value === null || !("reason" in value)) return null;
  return typeof value.reason === "string" ? value.reason : null;
}

function memberships(peers: readonly Peer[]): string | null {
  for (const { client, session, model, found } of peers) {
    if (!client.open || found !== null) continue;
    const got = [...session.channels].sort().join("\n");
    const expected = [...model.joined.keys()].sort().join("\n");
    if (got !== expected) return `is in ${JSON.stringify(got)} and should be in ${JSON.stringify(expected)}`;
    if (client.topics.size !== model.joined.size) return "receives other topics than it joined";
  }
  return null;
}

function frameOf(random: Random, version: 1 | 2): string | Buffer {
  const kind = random.next(100);
  if (kind < 8) {
    const bytes = binaryFrame(random);
    return random.chance(50) ? bytes : mutatedBytes(random, bytes);
  }
  if (kind < 10) return randomBytes(random, 40);
  if (kind < 13) return jsonText(random);
  // Deep nesting is slow: a few are enough.
  const payload = random.next(20_000) === 0 ? deep(random) : payloadOf(random);
  const text = version === 2 ? textV2(random, payload) : textV1(random, payload);
  return kind < 30 ? mutated(random, text) : text;
}

function refText(random: Random): string {
  if (random.chance(70)) return JSON.stringify(random.pick(["1", "2", "3"] as const));
  return random.chance(60)
    ? JSON.stringify(random.pick(REFS))
    : random.pick(["null", "1", "2", "1e999", "1.5", "true", "[]", "9007199254740993", "-0"] as const);
}

function nameText(random: Random): [topic: string, event: string] {
  const joins = random.chance(45);
  const event = joins ? random.pick(["phx_join", "phx_join", "phx_leave"] as const) : eventName(random);
  const topic = random.chance(4) ? jsonText(random, 1) : JSON.stringify(channelName(random));
  return [topic, JSON.stringify(event)];
}

function payloadOf(random: Random): string {
  if (random.chance(60)) {
    const token = `${random.chance(15) ? "far-" : ""}${random.pick(TOKENS)}`;
    const extra = random.chance(30) ? `,"a":${jsonText(random, 2)}` : "";
    return `{${space(random)}"token":${JSON.stringify(token)}${extra}}`;
  }
  return jsonText(random, 3);
}

function textV2(random: Random, payload: string): string {
  const [topic, event] = nameText(random);
  const s = space(random);
  return `[${s}${refText(random)},${refText(random)}${s},${topic},${event},${s}${payload}${s}]`;
}

function textV1(random: Random, payload: string): string {
  const [topic, event] = nameText(random);
  const joinRef = random.chance(30) ? `,"join_ref":${refText(random)}` : "";
  return `{"topic":${topic},"event":${event},"payload":${payload},"ref":${refText(random)}${joinRef}}`;
}

function binaryFrame(random: Random): Buffer {
  const texts = [random.pick(REFS), random.pick(REFS), channelName(random), eventName(random)];
  const parts = texts.map((text) => Buffer.from(text).subarray(0, 255));
  return Buffer.concat([
    Buffer.from([0, ...parts.map(({ length }) => length)]),
    ...parts,
    randomBytes(random, 20),
  ]);
}

import { RedisSubscriber } from "../../src/bus/redis/redis-subscriber.ts";
import { GroupsSession } from "../../src/protocols/groups/groups-session.ts";
import { V1, V2 } from "../../src/protocols/phoenix/phoenix-codec.ts";
import { PhoenixSession } from "../../src/protocols/phoenix/phoenix-session.ts";
import { jsonText } from "../unit/protocols/phoenix/fuzz/json-text.ts";
import type { Random } from "../unit/protocols/phoenix/fuzz/random.ts";
import type { FakeClient } from "../unit/protocols/phoenix/world.ts";
import { channelName, deep, eventName, mutatedBytes, randomBytes } from "./inputs.ts";
import { nameRules } from "./rules.ts";
import type { Target } from "./target.ts";
import { createFuzzWorld, type FuzzWorld, inconsistency, MAX_PAYLOAD } from "./world.ts";

/** Channels with members, and the events that clients of groups follow. */
const CHANNELS = ["room-0", "a:b", "a", "__proto__", "*", "é", "n".repeat(255)] as const;
const FOLLOWED = ["news", "message", "__proto__", "😀"] as const;
const RESERVED =
  /^(phx_join|phx_leave|phx_reply|phx_close|phx_error|heartbeat|presence_state|presence_diff)$/;

interface Message {
  readonly name: Buffer;
  readonly payload: Buffer;
}

type Kind = "v1" | "v2" | "v2 as json" | "groups";

interface Listener {
  readonly kind: Kind;
  readonly client: FakeClient;
}

/** Messages from Redis, in random pieces, up to the frames of the clients. */
export async function redis(random: Random): Promise<Target> {
  const world = await createFuzzWorld();
  const listeners = (["v1", "v2", "v2 as json", "groups"] as const).map((kind) => listen(world, kind));
  let failure: string | null = null;
  const intake = new RedisSubscriber(
    {
      subscribed() {},
      permitted() {},
      refused() {},
      releasable() {},
      message: (name, payload) => world.bus.listener?.message(name, payload),
      failed: (reason) => {
        failure = reason;
      },
    },
    { families: ["to"], prefix: "", maxPayload: MAX_PAYLOAD },
  );
  // Waits for the presence windows and the `admin` events.
  await new Promise((resolve) => setTimeout(resolve, 30));
  world.bus.turnAround();
  const subscribed = Buffer.from("*3\r\n$10\r\npsubscribe\r\n$4\r\nto:*\r\n:1\r\n");
  return {
    input() {
      for (const { client } of listeners) client.frames.length = 0;
      const messages = Array.from({ length: 1 + random.next(3) }, () => messageOf(random));
      const bytes: Buffer[] = random.chance(5) ? [subscribed] : [];
      for (const message of messages) {
        bytes.push(random.chance(50) ? asPush(message) : asArray(message));
        if (random.chance(10))
          bytes.push(Buffer.from(random.chance(50) ? "+PONG\r\n" : "*2\r\n$4\r\npong\r\n$0\r\n\r\n"));
      }
      const before = structuredClone(world.stats.dropped);
      for (const piece of cut(random, Buffer.concat(bytes))) intake.read(piece);
      if (failure !== null) return `the connection was given up: ${failure}`;
      const expected = messages.map(expect);
      for (const { reason } of expected) if (reason !== null) before[reason]++;
      const drops = JSON.stringify(world.stats.dropped);
      if (drops !== JSON.stringify(before)) return `dropped ${drops} and not ${JSON.stringify(before)}`;
      for (const listener of listeners) {
        const got = listener.client.frames.splice(0);
        const wanted = expected.flatMap(({ frames }) => frames?.(listener.kind) ?? []);
        if (got.join("\n") !== wanted.join("\n")) {
          return `${listener.kind} got ${got.join("\n").slice(0, 300)} and not ${wanted.join("\n").slice(0, 300)}`;
        }
      }
      return null;
    },
    check: () => inconsistency(world),
    stop: () => world.stop(),
  };
}

/** The same reader with bytes that no Redis sends: it reports a failure, does not throw, and buffers a bounded amount. */
export function brokenRedis(random: Random): Target {
  let given = 0;
  let failed = false;
  const stream = { on() {}, removeAllListeners() {}, write() {} };
  const make = (): RedisSubscriber => {
    const made = new RedisSubscriber(
      {
        subscribed() {},
        permitted() {},
        refused() {},
        releasable() {},
        message: () => void given++,
        failed: () => {
          failed = true;
        },
      },
      {
        families: ["to", "hub"],
        prefix: "",
        maxPayload: MAX_PAYLOAD,
        greeting: () => ({ name: "hub:marker", payload: "1" }),
      },
    );
    // Half of them with the replies to the commands that subscribe still to come.
    if (random.chance(50)) made.take(stream);
    return made;
  };
  let intake = make();
  return {
    input() {
      if (failed || random.chance(5)) intake = make();
      failed = false;
      for (const piece of cut(random, brokenBytes(random))) {
        if (!failed) intake.read(piece);
      }
      return null;
    },
    check: () => null,
    stop() {},
  };
}

/** Replies to the commands that subscribe. */
const REPLIES = [
  "%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$7\r\ncluster\r\n*2\r\n$10\r\n1795908980\r\n$6\r\n123456\r\n$2\r\nid\r\n",
  "-ERR unknown command 'HELLO'\r\n-NOPERM\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n",
  ">3\r\n$10\r\npsubscribe\r\n$4\r\nto:*\r\n:1\r\n-NOPERM\r\n:1\r\n",
].map((text) => Buffer.from(text));

function brokenBytes(random: Random): Buffer {
  if (random.chance(20)) return randomBytes(random, 60);
  if (random.chance(50)) return mutatedBytes(random, asPush(messageOf(random)));
  const replies = Buffer.concat(REPLIES.filter(() => random.chance(60)));
  return random.chance(50) ? replies : mutatedBytes(random, replies);
}

function listen(world: FuzzWorld, kind: Kind): Listener {
  const client = world.newClient();
  if (kind === "groups") {
    client.session = new GroupsSession(world.groups, client, { token: kind });
    client.connect();
    const groups = CHANNELS.map((channel) => [channel, FOLLOWED.slice(0, 2)] as const);
    const text = JSON.stringify({
      groups: Object.fromEntries(groups.filter(([name]) => name !== "__proto__")),
    });
    // As text, since an object literal would take it for its prototype.
    client.receive(`${text.slice(0, -2)},"__proto__":["news","__proto__","😀"]}}`);
  } else {
    const session = new PhoenixSession(world.phoenix, client, {
      codec: kind === "v1" ? V1 : V2,
      binary: kind !== "v2 as json",
      token: kind,
      administrator: null,
    });
    client.session = session;
    client.connect();
    for (const channel of CHANNELS) {
      const topic = JSON.stringify(channel);
      if (kind === "v1") client.receive(`{"topic":${topic},"event":"phx_join","payload":{},"ref":"1"}`);
      else client.receive(`["1","1",${topic},"phx_join",{}]`);
    }
  }
  return { kind, client };
}

interface ExpectedMessage {
  /** The reason under which it is counted; `null`: delivered. */
  readonly reason: keyof FuzzWorld["stats"]["dropped"] | null;
  readonly frames?: (kind: Kind) => string[];
}

/** The expected handling of a message, by bridge.md. */
function expect({ name, payload }: Message): ExpectedMessage {
  const text = decoded(name);
  if (text === null) return { reason: "malformed" };
  const match = /^to:(.+):([^:]+)$/s.exec(text);
  if (match === null) return { reason: "malformed" };
  const [, channel = "", event = ""] = match;
  if (event === "presence_diff" || (channel === "admin" && event.startsWith("channel.")))
    return { reason: "own" };
  if (RESERVED.test(event)) return { reason: "reserved" };
  if (payload.length === 0) return { reason: "empty" };
  if (payload.length > MAX_PAYLOAD) return { reason: "too_large" };
  if (!CHANNELS.some((each) => each === channel)) return { reason: "unheard" };
  if (!nameRules.event(event)) return { reason: "invalid_name" };
  const body = decoded(payload);
  const json = body !== null && isJson(body) ? body : null;
  const [topic, quoted] = [JSON.stringify(channel), JSON.stringify(event)];
  return {
    reason: null,
    frames(kind) {
      if (kind === "groups") {
        const entries: readonly string[] =
          channel === "__proto__" ? ["news", "__proto__", "😀"] : FOLLOWED.slice(0, 2);
        return json !== null && entries.includes(event) ? [json] : [];
      }
      if (json === null && kind === "v2")
        return [`"binary ${binaryFrame(channel, event, payload).toString("hex")}"`];
      const base64 = `{"base64":"${payload.toString("base64")}"}`;
      const shown = json ?? (body === null ? base64 : JSON.stringify(body));
      return kind === "v1"
        ? [`{"topic":${topic},"event":${quoted},"payload":${shown},"ref":null}`]
        : [`[null,null,${topic},${quoted},${shown}]`];
    },
  };
}

function binaryFrame(channel: string, event: string, payload: Buffer): Buffer {
  const [topic, name] = [Buffer.from(channel), Buffer.from(event)];
  return Buffer.concat([Buffer.from([0, 0, topic.length, name.length]), topic, name, payload]);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decoded(bytes: Buffer): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function messageOf(random: Random): Message {
  const channel = random.chance(75) ? random.pick(CHANNELS) : channelName(random);
  const event = random.chance(60) ? random.pick(FOLLOWED) : eventName(random);
  const name = Buffer.from(`to:${channel}:${event}`);
  return { name: random.chance(6) ? mutatedName(random, name) : name, payload: payloadOf(random) };
}

/** A name that still begins as what was subscribed to: Redis sends no other. */
function mutatedName(random: Random, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from("to:"), mutatedBytes(random, name.subarray(3))]);
}

function payloadOf(random: Random): Buffer {
  const kind = random.next(100);
  if (kind < 50) return Buffer.from(jsonText(random));
  if (kind < 60) return mutatedBytes(random, Buffer.from(jsonText(random)));
  if (kind < 70) return randomBytes(random, 50);
  if (kind < 72) return Buffer.alloc(0);
  if (kind < 76) return Buffer.from(`hello \u0000 ${random.pick(["é", "\u2028", '"', "\\"] as const)}`);
  if (kind < 78) return Buffer.from(deep(random).slice(0, MAX_PAYLOAD + 1));
  // Near the size from which frames are built in place, and near the maximum.
  const length = random.chance(50) ? 2040 + random.next(20) : MAX_PAYLOAD - 12 + random.next(20);
  const letter = random.pick(["x", "x", "é", "\ud83d\ude00"] as const);
  const text = JSON.stringify([letter.repeat(Math.ceil(length / Buffer.byteLength(letter)))]);
  return random.chance(80) ? Buffer.from(text) : Buffer.from(text.slice(1));
}

function asPush({ name, payload }: Message): Buffer {
  return encoded(">4", name, payload);
}

function asArray({ name, payload }: Message): Buffer {
  return encoded("*4", name, payload);
}

function encoded(start: string, name: Buffer, payload: Buffer): Buffer {
  const head = `${start}\r\n$8\r\npmessage\r\n$4\r\nto:*\r\n$${name.length}\r\n`;
  const end = Buffer.from("\r\n");
  return Buffer.concat([Buffer.from(head), name, Buffer.from(`\r\n$${payload.length}\r\n`), payload, end]);
}

/** Pieces in memory of their own, as a socket gives them. */
export function cut(random: Random, bytes: Buffer): Buffer[] {
  if (random.chance(40)) return [bytes];
  const pieces: Buffer[] = [];
  const most = random.pick([1, 3, 40, 500, 3000] as const);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.next(most);
    pieces.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return pieces;
}

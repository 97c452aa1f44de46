import { GroupsSession } from "../../src/protocols/groups/groups-session.ts";
import { jsonText, space } from "../unit/protocols/phoenix/fuzz/json-text.ts";
import type { Random } from "../unit/protocols/phoenix/fuzz/random.ts";
import type { FakeClient } from "../unit/protocols/phoenix/world.ts";
import { channelName, deep, eventName, mutated, randomBytes } from "./inputs.ts";
import { nameRules } from "./rules.ts";
import type { Target } from "./target.ts";
import { createFuzzWorld, type FuzzWorld, inconsistency, MAX_SUBSCRIPTIONS, permissions } from "./world.ts";

interface Peer {
  readonly client: FakeClient;
  readonly token: string;
  /** Its subscriptions in the model: group and entry as one JSON text. */
  following: Set<string>;
}

/** Messages of event groups: a client's subscriptions must be those of its last valid message that its token allows. */
export async function groups(random: Random): Promise<Target> {
  const world = await createFuzzWorld();
  const peers = Array.from({ length: 4 }, () => connectPeer(random, world));
  return {
    input() {
      const at = random.next(peers.length);
      let peer = peers[at];
      if (peer === undefined || random.chance(1)) {
        peer?.client.hangUp();
        if (peer !== undefined) world.clients.delete(peer.client);
        peer = connectPeer(random, world);
        peers[at] = peer;
      }
      const { client } = peer;
      client.frames.length = 0;
      if (random.chance(2)) {
        client.receive(randomBytes(random, 30));
        return client.frames.length === 1 ? null : "a binary frame was not answered once";
      }
      const text = messageOf(random);
      client.receive(text);
      const answers = client.frames.splice(0);
      const wanted = read(text, peer.token);
      if (wanted === null) {
        if (answers.length !== 1 || !answers[0]?.startsWith('{"error":'))
          return `answered ${answers.join(" ")}`;
      } else {
        peer.following = wanted.following;
        const last = answers.at(-1) ?? "";
        if (answers.length !== wanted.denied + 1 || !last.startsWith('{"groups_current":')) {
          return `${wanted.denied} are denied, answered ${answers.join(" ")}`;
        }
      }
      return client.topics.size === peer.following.size ? null : `follows ${[...client.topics].join(" ")}`;
    },
    check: () => inconsistency(world),
    stop: () => world.stop(),
  };
}

function connectPeer(random: Random, world: FuzzWorld): Peer {
  const client = world.newClient();
  const token = random.pick(["alice", "bob", "narrow", "shut"] as const);
  client.session = new GroupsSession(world.groups, client, { token });
  client.connect();
  return { client, token, following: new Set() };
}

interface Wanted {
  readonly following: Set<string>;
  readonly denied: number;
}

/** What a message asks for, by groups.md; `null` if the whole message is refused. */
function read(text: string, token: string): Wanted | null {
  let value: unknown;
  try {
    // An integer too large for a number is kept as text.
    value = JSON.parse(text, (_key, each: unknown, { source = "" }: { source?: string } = {}) =>
      typeof each === "number" && !Number.isSafeInteger(each) && /^-?\d+$/.test(source) ? source : each,
    );
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, "groups")) return null;
  const named: unknown = Object.getOwnPropertyDescriptor(value, "groups")?.value;
  if (typeof named !== "object" || named === null || Array.isArray(named)) return null;
  const claims = permissions(token);
  const following = new Set<string>();
  const refused = new Set<string>();
  let impossible = 0;
  for (const [group, entries] of Object.entries(named)) {
    if (!Array.isArray(entries)) return null;
    for (const entry of entries) {
      const name = nameRules.channel(group) ? entryOf(entry) : null;
      if (name === null) impossible++;
      else {
        const may = typeof claims !== "string" && claims.join && nameRules.covers(claims, group);
        (may ? following : refused).add(JSON.stringify([group, name]));
      }
      if (following.size + refused.size + impossible > MAX_SUBSCRIPTIONS) return null;
    }
  }
  return { following, denied: refused.size + impossible };
}

function entryOf(entry: unknown): string | null {
  if (typeof entry === "string") {
    const length = [...entry].length;
    return length > 0 && length <= 255 && entry.isWellFormed() && !/[\p{Cc}:]/u.test(entry) ? entry : null;
  }
  return typeof entry === "number" && Number.isSafeInteger(entry) ? String(entry) : null;
}

function messageOf(random: Random): string {
  const kind = random.next(100);
  if (kind < 4) return jsonText(random);
  if (random.next(20_000) === 0) return `{"groups":${deep(random)}}`;
  const entry = (): string => {
    const which = random.next(10);
    if (which < 5) return JSON.stringify(eventName(random));
    if (which < 8) return String(random.next(50) - 10);
    return which < 9
      ? JSON.stringify(channelName(random))
      : random.pick(["1.5", "true", "null", "[]", "{}", "-0"] as const);
  };
  const list = (): string =>
    random.chance(3)
      ? jsonText(random, 2)
      : `[${space(random)}${random.times(6, entry).join(`${space(random)},`)}]`;
  const member = (): string => `${JSON.stringify(channelName(random))}:${space(random)}${list()}`;
  const text = `{"groups":{${random.times(5, member).join(",")}}${random.chance(5) ? ',"xrftoken":"a"' : ""}}`;
  return kind < 15 ? mutated(random, text) : text;
}

import type { Verdict, Verify } from "../../src/auth/verifier.ts";
import type { Bus, BusListener, BusState, PublishAck, SubscribedFamily } from "../../src/bus/bus.ts";
import { Connections } from "../../src/hub/connections.ts";
import { Hub } from "../../src/hub/hub.ts";
import { InboundBudget } from "../../src/hub/inbound-budget.ts";
import { MemoryPresenceStore } from "../../src/hub/presence/memory-presence.ts";
import { createStats, type Stats } from "../../src/hub/stats.ts";
import type { Log } from "../../src/log.ts";
import { GroupsProtocol } from "../../src/protocols/groups/groups.ts";
import { PhoenixProtocol } from "../../src/protocols/phoenix/phoenix.ts";
import { ConnectionContext } from "../../src/transports/connection-context.ts";
import { claims, FakeClient } from "../unit/protocols/phoenix/world.ts";
import type { Claims as Permissions } from "./rules.ts";

/** Bytes of a message from Redis, and subscriptions and topics of one client, small enough to be reached. */
export const MAX_PAYLOAD = 4096;
export const MAX_SUBSCRIPTIONS = 20;
export const MAX_CHANNELS = 8;

/** A bus that sends back what is published on `to:`, as Redis does, and stores nothing else. */
export class LoopBus implements Bus {
  readonly kind = "redis";
  state: BusState = { live: true, detail: "a loop", gaps: 0, since: 0 };
  /** What clients pushed since this was last emptied. */
  pushed: { readonly name: string; readonly payload: string | Uint8Array }[] = [];
  #listener: BusListener | null = null;
  #back: { readonly name: string; readonly payload: string | Uint8Array }[] = [];

  async subscribe(_families: readonly SubscribedFamily[], listener: BusListener): Promise<void> {
    this.#listener = listener;
  }

  get listener(): BusListener | null {
    return this.#listener;
  }

  hears(): boolean {
    return this.state.live;
  }

  publish(name: string, payload: string | Uint8Array, receipt?: PublishAck): void {
    if (this.state.live) (name.startsWith("to:") ? this.#back : this.pushed).push({ name, payload });
    receipt?.settled(this.state.live);
  }

  async stop(): Promise<void> {}

  bring(name: Buffer, payload: Buffer): void {
    this.#listener?.message(name, payload);
  }

  /** Delivers what was published; it is lost if the bus is lost. */
  turnAround(): void {
    for (const { name, payload } of this.#back.splice(0)) this.bring(Buffer.from(name), Buffer.from(payload));
  }

  turn(live: boolean): void {
    if (!live) this.#back = [];
    this.state = { ...this.state, live };
    this.#listener?.changed(this.state);
  }
}

/** Hub, context and protocols as in the server, without a network. */
export interface FuzzWorld {
  readonly bus: LoopBus;
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly stats: Stats;
  readonly phoenix: PhoenixProtocol;
  readonly groups: GroupsProtocol;
  readonly clients: Set<FakeClient>;
  /** Pending lookups of tokens, which the fuzzer resolves. */
  readonly waiting: (() => void)[];
  newClient(): FakeClient;
  stop(): void;
}

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** `bad`, `expired`, `narrow` (room-0 alone), `mute`, `shut`, `brief` (soon over), or the name of a user who may do everything. */
export function verdictOf(token: string): Verdict {
  if (token === "bad") return { ok: false, reason: "unauthorized", code: "bad_signature" };
  if (token === "expired") return { ok: false, reason: "token expired", code: "token_expired" };
  if (token === "narrow") return { ok: true, claims: claims("narrow", { channels: ["room-0"] }) };
  if (token === "mute") {
    return { ok: true, claims: claims("mute", { can: { join: true, push: false, presence: false } }) };
  }
  if (token === "brief") return { ok: true, claims: claims("brief", { expiresAt: Date.now() + 20 }) };
  if (token === "shut") {
    return { ok: true, claims: claims("shut", { can: { join: false, push: true, presence: true } }) };
  }
  return { ok: true, claims: claims(token) };
}

/** The same for the models: the reason of a refusal, or what the token allows. `far-` needs a lookup. */
export function permissions(token: string): Permissions | string {
  const verdict = verdictOf(token.replace(/^far-/, ""));
  if (!verdict.ok) return verdict.reason;
  const { user, channels, can } = verdict.claims;
  return { user, channels, join: can.join, push: can.push };
}

export async function createFuzzWorld(): Promise<FuzzWorld> {
  const stats = createStats();
  const bus = new LoopBus();
  // These clients answer no pings, and a run may take hours.
  const connections = new Connections({ idleTimeout: Number.MAX_SAFE_INTEGER, maxBuffered: 1 << 30 });
  const hub = new Hub({
    bus,
    connections,
    stats,
    log: SILENT,
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: 5,
    maxPayload: MAX_PAYLOAD,
    datetime: false,
    adminEvents: true,
    presenceEvents: true,
    history: null,
    rulesFor: (name) => ({
      presence: !name.startsWith("quiet"),
      presenceMeta: false,
      namesSender: false,
      history: null,
    }),
  });
  const context = new ConnectionContext({
    connections,
    stats,
    log: SILENT,
    framesPerSecond: 1e9,
    bytesPerSecond: 1e12,
    bytesPerSecondPerIp: Number.MAX_SAFE_INTEGER,
    inbound: new InboundBudget({ maxInbound: 64 << 20, frameTimeout: 10_000 }),
    maxFrame: 1 << 20,
    maxBuffered: 1 << 20,
    closeOnExpiry: true,
  });
  const waiting: (() => void)[] = [];
  const verify: Verify = (token) => {
    if (!token.startsWith("far-")) return verdictOf(token);
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    waiting.push(() => resolve(verdictOf(token.slice(4))));
    return promise;
  };
  const clients = new Set<FakeClient>();
  const publish = (topic: string, frame: string | Buffer): number => {
    let worst = 1;
    for (const client of clients) if (client.topics.has(topic)) worst = Math.min(worst, client.hear(frame));
    return worst;
  };
  const shared = { hub, context, fanouts: { publisher: { publish }, connections }, verify };
  const phoenix = new PhoenixProtocol({ ...shared, maxChannels: MAX_CHANNELS, clientEventsPerSecond: 10 });
  const groups = new GroupsProtocol({ ...shared, maxSubscriptions: MAX_SUBSCRIPTIONS });
  hub.start();
  await bus.subscribe(["to"], hub);
  let serial = 0;
  return {
    bus,
    hub,
    context,
    stats,
    phoenix,
    groups,
    clients,
    waiting,
    newClient() {
      const client = new FakeClient(context, `c${++serial}`, "192.0.2.1");
      clients.add(client);
      return client;
    },
    stop() {
      hub.stop();
      connections.stop();
    },
  };
}

/** Checks the invariants after any input; returns the first violation, or `null`. */
export function inconsistency({ hub, stats, clients }: FuzzWorld): string | null {
  let members = 0;
  for (const channel of hub.channels.values()) {
    members += channel.members.size;
    const permanent = ["phoenix", "admin", "system"].includes(channel.name);
    const { name, receivers, presence } = channel;
    if (!permanent && channel.members.size === 0 && receivers.length === 0)
      return `${name} is open and empty`;
    if (new Set(receivers).size !== receivers.length) return `${name} has a receiver twice`;
    const users = new Set<string>();
    for (const member of channel.members) {
      users.add(member.user);
      if (!hub.connections.has(member.connection.id)) return `${name} has a member that is gone`;
    }
    if (presence !== null && presence.users !== users.size) {
      return `${name} shows ${presence.users} users and has ${users.size}`;
    }
    for (const member of channel.awaitingState) {
      if (!channel.members.has(member)) return `${name} keeps a state for one who left`;
    }
  }
  const { accepted, left } = stats.joins;
  if (accepted - left !== members) return `${accepted} joins, ${left} leaves and ${members} members`;
  let up = 0;
  for (const client of clients) if (hub.connections.has(client.id)) up++;
  if (up !== hub.connections.size) return `${hub.connections.size} connections are known, ${up} are there`;
  const { received, delivered, dropped } = stats;
  const drops = Object.values(dropped).reduce((sum, each) => sum + each, 0);
  if (received.messages !== delivered + drops) return "messages of the bus vanished uncounted";
  return null;
}

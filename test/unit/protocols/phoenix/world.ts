import type { Claims, Verdict, Verify } from "../../../../src/auth/verifier.ts";
import { Connections } from "../../../../src/hub/connections.ts";
import type { HistoryRules } from "../../../../src/hub/history/history.ts";
import { MemoryHistory } from "../../../../src/hub/history/memory-history.ts";
import { Hub } from "../../../../src/hub/hub.ts";
import { InboundBudget } from "../../../../src/hub/inbound-budget.ts";
import { MemoryPresenceStore } from "../../../../src/hub/presence/memory-presence.ts";
import { createStats } from "../../../../src/hub/stats.ts";
import type { Log } from "../../../../src/log.ts";
import { PhoenixProtocol } from "../../../../src/protocols/phoenix/phoenix.ts";
import { V1, V2 } from "../../../../src/protocols/phoenix/phoenix-codec.ts";
import { PhoenixSession } from "../../../../src/protocols/phoenix/phoenix-session.ts";
import { Client } from "../../../../src/transports/client.ts";
import { ConnectionContext } from "../../../../src/transports/connection-context.ts";
import { FakeBus } from "../../hub/fake-bus.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * A client whose network does as a test says. Like Bun's socket it drops what is sent to it while its buffer is full, and
 * tells of its end from within `terminate`, not later.
 */
export class FakeClient extends Client {
  readonly frames: string[] = [];
  readonly topics = new Set<string>();
  /** Reads nothing, with a full buffer. */
  stalled = false;
  /** Bytes that it has not read; it gets what is sent all the same. */
  unread = 0;
  ended: number | null = null;
  #up = true;

  connect(): this {
    this.register();
    return this;
  }

  hangUp(): void {
    if (!this.#up) return;
    this.#up = false;
    this.topics.clear();
    this.unregister();
  }

  /** What it was sent since the last call, parsed. */
  take(): unknown[] {
    return this.frames.splice(0).map((frame) => JSON.parse(frame));
  }

  /** Nothing comes from a network that is gone. */
  override receive(frame: string | Buffer): void {
    if (this.#up) super.receive(frame);
  }

  override buffered(): number {
    return this.#up && this.stalled ? this.context.maxBuffered : this.unread;
  }

  override ping(): void {}

  override subscribe(topic: string): boolean {
    if (this.#up) this.topics.add(topic);
    return true;
  }

  override unsubscribe(topic: string): void {
    this.topics.delete(topic);
  }

  override end(code: number): void {
    this.ended = code;
    this.hangUp();
  }

  hear(frame: string | Buffer): number {
    return this.transmit(frame);
  }

  protected override get connected(): boolean {
    return this.#up;
  }

  protected override transmit(frame: string | Buffer): number {
    if (this.stalled || !this.#up) return 0;
    this.frames.push(typeof frame === "string" ? frame : `"binary ${frame.toString("hex")}"`);
    return frame.length;
  }

  protected override terminate(): void {
    this.hangUp();
  }
}

export interface WorldOptions {
  readonly maxChannels?: number;
  readonly framesPerSecond?: number;
  readonly verify?: Verify;
  /** What is kept of every channel; nothing if absent. */
  readonly history?: HistoryRules;
  readonly maxBuffered?: number;
}

/** Hub, context and endpoint as the server has them, with a bus and clients that need no network. */
export interface World {
  readonly bus: FakeBus;
  readonly hub: Hub;
  readonly endpoint: PhoenixProtocol;
  readonly context: ConnectionContext;
  connect(options?: { version?: 1 | 2; token?: string }): { client: FakeClient; session: PhoenixSession };
  /** What the server does several times a second. */
  tick(): void;
  stop(): void;
}

export function claims(user: string, changes: Partial<Claims> = {}): Claims {
  const can = { join: true, push: true, presence: true };
  return { user, channels: ["*"], can, expiresAt: Number.POSITIVE_INFINITY, admin: false, ...changes };
}

/** Tokens of a world: `bad`, `expired`, or the name of a user. */
export function verdictOf(token: string): Verdict {
  if (token === "bad") return { ok: false, reason: "unauthorized", code: "bad_signature" };
  if (token === "expired") return { ok: false, reason: "token expired", code: "token_expired" };
  return { ok: true, claims: claims(token) };
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const stats = createStats();
  const bus = new FakeBus();
  const connections = new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 30 });
  const rules = { presence: true, presenceMeta: false, namesSender: false, history: options.history ?? null };
  const hub = new Hub({
    bus,
    connections,
    stats,
    log: SILENT,
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: 50,
    maxPayload: 1 << 20,
    datetime: false,
    adminEvents: true,
    presenceEvents: true,
    history: options.history === undefined ? null : new MemoryHistory(1 << 30),
    rulesFor: () => rules,
  });
  const framesPerSecond = options.framesPerSecond ?? 1_000_000;
  const maxFrame = 1 << 20;
  const context = new ConnectionContext({
    connections,
    stats,
    log: SILENT,
    framesPerSecond,
    bytesPerSecond: 1e12,
    bytesPerSecondPerIp: Number.MAX_SAFE_INTEGER,
    inbound: new InboundBudget({ maxInbound: 64 << 20, frameTimeout: 10_000 }),
    maxFrame,
    maxBuffered: options.maxBuffered ?? 1024,
    closeOnExpiry: true,
  });
  const clients = new Set<FakeClient>();
  const publish = (topic: string, frame: string | Buffer): number => {
    let worst = 1;
    for (const client of clients) if (client.topics.has(topic)) worst = Math.min(worst, client.hear(frame));
    return worst;
  };
  const endpoint = new PhoenixProtocol({
    hub,
    context,
    fanouts: { publisher: { publish }, connections },
    verify: options.verify ?? verdictOf,
    maxChannels: options.maxChannels ?? 100,
    clientEventsPerSecond: 10,
  });
  hub.start();
  await bus.subscribe(["to"], hub);
  let serial = 0;
  return {
    bus,
    hub,
    endpoint,
    context,
    connect({ version = 2, token } = {}) {
      const client = new FakeClient(context, `c${++serial}`, "192.0.2.1");
      const session = new PhoenixSession(endpoint, client, {
        codec: version === 1 ? V1 : V2,
        binary: true,
        token: token ?? null,
        administrator: null,
      });
      client.session = session;
      clients.add(client);
      return { client: client.connect(), session };
    },
    tick() {
      hub.tick();
      context.tick();
      endpoint.tick();
    },
    stop() {
      endpoint.stop();
      hub.stop();
      connections.stop();
    },
  };
}

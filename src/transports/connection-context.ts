import type { Connections } from "../hub/connections.ts";
import type { InboundBudget } from "../hub/inbound-budget.ts";
import { RefusalLog } from "../hub/refusal-log.ts";
import type { Stats } from "../hub/stats.ts";
import { TimerWheel } from "../hub/timer-wheel.ts";
import type { Log } from "../log.ts";
import { AddressBytes } from "./address-bytes.ts";

/** Seconds of sustained rate that a client may send at once. */
const BURST_SECS = 10;

/** Delay and jitter before a dismissed client is disconnected, in ms. With the resolution of the timer wheel: 2 to 5 s. */
const DISMISS_DELAY = 2_000;
const DISMISS_JITTER = 2_400;

/** Expirations processed per tick: when many tokens expire at once, the work is spread over some seconds. */
const EXPIRATIONS_PER_TICK = 200;

/** Something that ends with a token: a membership, a connection. */
export interface Expiring {
  expire(): void;
}

/** Something that can be closed later. */
export interface Closable {
  end(code: number, reason: string): void;
}

interface PendingClose {
  readonly client: Closable;
  readonly code: number;
  readonly reason: string;
}

export interface ConnectionContextOptions {
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  /** Frames per second that one client may send. */
  readonly framesPerSecond: number;
  /** Bytes per second that one client may send. */
  readonly bytesPerSecond: number;
  /** Bytes per second that all clients of one address may send together. */
  readonly bytesPerSecondPerIp: number;
  /** The budget of received bytes that are not handled yet. */
  readonly inbound: InboundBudget;
  /** Largest frame that a client may send, in bytes. */
  readonly maxFrame: number;
  /** Largest backlog of one client, in bytes. */
  readonly maxBuffered: number;
  /** Whether memberships and connections end when their token expires. */
  readonly closeOnExpiry: boolean;
}

/** What the clients of every protocol and transport share: limits, counters, timers. */
export class ConnectionContext {
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  readonly refusals: RefusalLog;
  readonly framesPerSecond: number;
  /** Frames that one client may send at once. */
  readonly frameBurst: number;
  readonly bytesPerSecond: number;
  /** Bytes that one client may send at once: at least one frame. */
  readonly byteBurst: number;
  readonly addressBytes: AddressBytes;
  readonly inbound: InboundBudget;
  readonly maxFrame: number;
  readonly maxBuffered: number;
  readonly #closeOnExpiry: boolean;
  readonly #expirations = new TimerWheel<Expiring>(Date.now());
  readonly #closings = new TimerWheel<PendingClose>(performance.now());

  constructor(options: ConnectionContextOptions) {
    this.connections = options.connections;
    this.stats = options.stats;
    this.log = options.log;
    this.refusals = new RefusalLog(options.log);
    this.framesPerSecond = options.framesPerSecond;
    this.frameBurst = options.framesPerSecond * BURST_SECS;
    this.bytesPerSecond = options.bytesPerSecond;
    this.byteBurst = Math.max(options.bytesPerSecond * BURST_SECS, options.maxFrame);
    const addressBurst = Math.max(options.bytesPerSecondPerIp * BURST_SECS, this.byteBurst);
    this.addressBytes = new AddressBytes(options.bytesPerSecondPerIp, addressBurst);
    this.inbound = options.inbound;
    this.maxFrame = options.maxFrame;
    this.maxBuffered = options.maxBuffered;
    this.#closeOnExpiry = options.closeOnExpiry;
  }

  /** Schedules `expire` at a time (Unix ms). Returns the slot, which `forgetExpiry` needs. */
  expireAt(what: Expiring, time: number): number {
    return this.#closeOnExpiry ? this.#expirations.add(what, time) : 0;
  }

  forgetExpiry(what: Expiring, slot: number): void {
    this.#expirations.delete(what, slot);
  }

  /** Ends a connection after a random delay of 2 to 5 s. */
  endLater(client: Closable, code: number, reason: string): void {
    const dueAt = performance.now() + DISMISS_DELAY + Math.random() * DISMISS_JITTER;
    this.#closings.add({ client, code, reason }, dueAt);
  }

  /** To be called several times a second. */
  tick(): void {
    this.#expirations.due(Date.now(), EXPIRATIONS_PER_TICK, (what) => what.expire());
    this.#closings.due(performance.now(), Number.POSITIVE_INFINITY, ({ client, code, reason }) =>
      client.end(code, reason),
    );
  }
}

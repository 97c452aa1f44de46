import type { RevocationKind } from "../auth/revocations.ts";
import type { Connection } from "../hub/connection.ts";
import type { Connections } from "../hub/connections.ts";
import type { Inbound } from "../hub/inbound-budget.ts";
import { RefusalLog } from "../hub/refusal-log.ts";
import { count, type Stats } from "../hub/stats.ts";
import { TimerWheel } from "../hub/timer-wheel.ts";
import type { Log } from "../log.ts";

/**
 * How long a dismissed client stays connected, so that it does not storm back, in ms: with the slots of deadlines, and the
 * time between two looks at them, 2 to 5 s.
 */
const LINGER = 2_000;
const LINGER_JITTER = 2_400;

/** How long a client that is being finished may read what waits for it, in ms. */
const FINISH = 1_000;

/** Malformed frames within a minute; the last of them is the client's last. */
const MAX_STRIKES = 10;
const STRIKE_WINDOW = 60_000;

/**
 * Bytes of frames that may wait behind something that is being verified, besides one of the largest frames. Where all clients
 * together have more waiting than they may, those are dismissed who have more than this: a key set that does not answer lets
 * anybody's frames wait.
 */
const MAX_HELD = 64 * 1024;

/** Seconds' worth of frames and of bytes that a client may send at once. */
const BURST = 10;

/** What may end for its token in one tick: many that run out at once are spread over some seconds. */
const EXPIRIES_A_TICK = 200;

/** What lasts as long as a token: a membership, a connection. */
export interface Expiring {
  expire(): void;
}

interface Farewell {
  readonly client: Client;
  readonly code: number;
  readonly reason: string;
}

export interface ConnectionContextOptions {
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  /** Frames a second that one client may send. */
  readonly framesPerSecond: number;
  /** Bytes a second that one client may send. */
  readonly bytesPerSecond: number;
  /** What clients sent that is not handled yet. */
  readonly inbound: Inbound;
  /** Bytes of one client's frame. */
  readonly maxFrame: number;
  /** Bytes that may wait for one client. */
  readonly maxBuffered: number;
  /** Whether what a token opened ends with it. */
  readonly closeOnExpiry: boolean;
}

interface Held {
  readonly frame: string | Buffer;
  readonly allowed: boolean;
}

/** What the clients of every protocol and transport share. */
export class ConnectionContext {
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  readonly refusals: RefusalLog;
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Bytes that one client may send at once: never less than one frame. */
  readonly byteBurst: number;
  readonly inbound: Inbound;
  readonly maxFrame: number;
  readonly maxBuffered: number;
  readonly #closeOnExpiry: boolean;
  readonly #expiries = new TimerWheel<Expiring>(Date.now());
  readonly #farewells = new TimerWheel<Farewell>(performance.now());

  constructor(options: ConnectionContextOptions) {
    this.connections = options.connections;
    this.stats = options.stats;
    this.log = options.log;
    this.refusals = new RefusalLog(options.log);
    this.framesPerSecond = options.framesPerSecond;
    this.bytesPerSecond = options.bytesPerSecond;
    this.byteBurst = Math.max(options.bytesPerSecond * BURST, options.maxFrame);
    this.inbound = options.inbound;
    this.maxFrame = options.maxFrame;
    this.maxBuffered = options.maxBuffered;
    this.#closeOnExpiry = options.closeOnExpiry;
  }

  /** Remembers when a token runs out (Unix ms). Returns the slot that `forgetExpiry` wants. */
  expireAt(what: Expiring, time: number): number {
    return this.#closeOnExpiry ? this.#expiries.add(what, time) : 0;
  }

  forgetExpiry(what: Expiring, slot: number): void {
    this.#expiries.delete(what, slot);
  }

  /** Ends a client's connection later: 2 to 5 s from now, each at a time of its own. */
  endLater(client: Client, code: number, reason: string): void {
    this.#farewells.add({ client, code, reason }, performance.now() + LINGER + Math.random() * LINGER_JITTER);
  }

  /** To be called several times a second. */
  tick(): void {
    this.#expiries.due(Date.now(), EXPIRIES_A_TICK, (what) => what.expire());
    this.#farewells.due(performance.now(), Number.POSITIVE_INFINITY, ({ client, code, reason }) =>
      client.end(code, reason),
    );
  }
}

/** A protocol, as one client's connection drives it. Must not throw. */
export interface Session {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** See `Connection`. */
  readonly users: readonly string[];
  readonly channels: readonly string[];
  /** A frame; `allowed` is false when the client sends more than its budget. */
  receive(frame: string | Buffer, allowed: boolean): void;
  /** The connection is up. */
  begin?(): void;
  /** Whether it is here by this session or token; no, where it knows neither. */
  reliesOn?(kind: RevocationKind, id: string): boolean;
  /** The connection is over, or as good as: nobody may be left behind. Called once or more. */
  leave(): void;
}

/** One client of any transport: budgets of frames and bytes, sign of life, and the ways to end. */
export abstract class Client implements Connection {
  readonly id: string;
  readonly address: string;
  readonly openedAt: number;
  readonly context: ConnectionContext;
  /** Whether a page of another site opened it: see `ProofSource`. */
  foreign = false;
  lastSeen: number;
  idleSince: number | null;
  /** Set once, before the first frame. */
  session: Session | null = null;
  #dismissed = false;
  #finishing = false;
  #cutOff = false;
  #settling: Promise<void> | null = null;
  /** Frames that came while something was being verified: they are handled after it, in their order. */
  #held: Held[] | null = null;
  #heldBytes = 0;
  #frames: number;
  #bytes: number;
  #refilledAt: number;
  /** When the last malformed frames came; `null` for the many who send none. */
  #strikes: number[] | null = null;

  constructor(context: ConnectionContext, id: string, address: string) {
    const now = performance.now();
    this.context = context;
    this.id = id;
    this.address = address;
    this.openedAt = Date.now();
    this.lastSeen = now;
    this.idleSince = now;
    this.#frames = context.framesPerSecond * BURST;
    this.#bytes = context.byteBurst;
    this.#refilledAt = now;
  }

  /** Whether the transport is there. */
  protected abstract readonly connected: boolean;

  /** Sends at once and says what became of it: bytes, -1 when it waits for a slow client, 0 when it was dropped. */
  protected abstract transmit(frame: string | Buffer): number;

  /** Takes the transport down without a word and frees what waits for it. */
  protected abstract terminate(): void;

  abstract buffered(): number;
  abstract ping(): void;

  /** Hears a Bun topic; `false` where the transport cannot, and wants each frame sent to it. */
  abstract subscribe(topic: string): boolean;
  abstract unsubscribe(topic: string): void;

  /** Ends the transport now, with a code that the client sees if the network lets it. */
  abstract end(code: number, reason: string): void;

  get protocol(): string {
    return this.session?.protocol ?? "none";
  }

  get users(): readonly string[] {
    return this.session?.users ?? [];
  }

  get channels(): readonly string[] {
    return this.session?.channels ?? [];
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    return this.session?.reliesOn?.(kind, id) ?? false;
  }

  /** Whether it still takes part: frames of a client that is being dismissed are ignored. */
  get open(): boolean {
    return this.connected && !this.#dismissed;
  }

  /** Whether it was ended for not reading, or not living. */
  get wasCutOff(): boolean {
    return this.#cutOff;
  }

  /** A frame as it came. Its bytes are charged before anything of it is read. */
  receive(frame: string | Buffer): void {
    if (this.chargeBytes(typeof frame === "string" ? Buffer.byteLength(frame) : frame.length)) {
      this.accept(frame);
    }
  }

  /** Takes bytes from the budget; a client without that many left is dismissed. `false`: they are not to be handled. */
  chargeBytes(bytes: number): boolean {
    this.#refill(performance.now());
    if (this.#bytes < bytes) {
      this.dismiss(1008, "too many bytes");
      this.stopReading();
      return false;
    }
    this.#bytes -= bytes;
    return true;
  }

  /**
   * Takes from the budget of frames what a frame cost besides itself. That may be more than is left: no frame is allowed then
   * until it has been made up for, which takes as long as a burst at the most.
   */
  chargeFrames(frames: number): void {
    this.#frames = Math.max(this.#frames - frames, -this.context.framesPerSecond * BURST);
  }

  /**
   * Goes on with a value, now or when it is there; what this client sends in between is held back, and no one else's.
   * Nothing happens for a client that is gone by then.
   */
  after<T>(value: T | Promise<T>, then: (value: T) => void): void {
    if (!(value instanceof Promise)) return then(value);
    this.#settling = value.then((later) => {
      this.#settling = null;
      if (!this.open) return;
      then(later);
      this.#release();
    });
  }

  /** Resolves when what holds back this client's frames is verified; `null` when nothing does. */
  get settling(): Promise<void> | null {
    return this.#settling;
  }

  send(frame: string | Buffer): void {
    if (!this.open) return;
    const { connections } = this.context;
    if (connections.watching) connections.expect(frame.length);
    const sent = this.transmit(frame);
    if (sent === -1) connections.noticeBacklog();
    else if (sent === 0) this.checkBacklog();
  }

  checkBacklog(): void {
    if (this.buffered() >= this.context.maxBuffered) this.cutOff("slow");
  }

  close(code: number, reason: string): void {
    this.#dismissed = true;
    this.session?.leave();
    this.end(code, reason);
  }

  finish(code: number, reason: string): void {
    if (!this.open || this.#finishing) return;
    this.#finishing = true;
    count(this.context.stats.closed, reason.replaceAll(" ", "_"));
    if (this.buffered() === 0) this.close(code, reason);
    else setTimeout(() => this.open && this.close(code, reason), FINISH);
  }

  dismiss(code: number, reason: string): void {
    if (!this.open) return;
    this.#dismissed = true;
    count(this.context.stats.closed, reason.replaceAll(" ", "_"));
    this.#letGo();
    this.session?.leave();
    this.context.endLater(this, code, reason);
  }

  cutOff(reason: string): void {
    if (!this.connected || this.#cutOff) return;
    this.#cutOff = true;
    this.#dismissed = true;
    count(this.context.stats.closed, reason);
    this.context.log.debug("cut off a client", { connection: this.id, address: this.address, reason });
    // Terminating tells the session at once that it is over, and it may be in the middle of a frame.
    setImmediate(() => this.terminate());
  }

  /** Nothing more of what it sends is wanted, for as long as it stays. */
  protected stopReading(): void {}

  /** A frame whose bytes are charged. */
  protected accept(frame: string | Buffer): void {
    if (!this.open) return;
    const now = performance.now();
    this.lastSeen = now;
    this.idleSince = null;
    this.#refill(now);
    const allowed = this.#takeFrame();
    if (this.#settling === null) this.session?.receive(frame, allowed);
    else this.#hold({ frame, allowed });
  }

  /** Counts a malformed frame. The tenth within a minute dismisses the client. */
  strike(): void {
    this.#strikes ??= [];
    this.#strikes.push(this.lastSeen);
    if (this.#strikes.length < MAX_STRIKES) return;
    const first = this.#strikes.shift() ?? 0;
    if (this.lastSeen - first <= STRIKE_WINDOW) this.dismiss(1008, "too many malformed frames");
  }

  /** To be called once, when the transport is up. */
  protected arrive(): void {
    this.context.stats.connections.opened++;
    this.context.connections.add(this);
    this.session?.begin?.();
  }

  /** To be called once, when the transport is down. */
  protected depart(): void {
    this.context.stats.connections.closed++;
    this.context.connections.remove(this);
    this.#letGo();
    this.session?.leave();
  }

  #hold(held: Held): void {
    this.#held ??= [];
    this.#held.push(held);
    this.#heldBytes += held.frame.length;
    this.context.inbound.add(held.frame.length);
    const most = this.context.inbound.full ? MAX_HELD : this.context.maxFrame + MAX_HELD;
    if (this.#heldBytes > most) this.dismiss(1008, "too much sent while joining");
  }

  #letGo(): void {
    this.context.inbound.remove(this.#heldBytes);
    this.#heldBytes = 0;
    this.#held = null;
  }

  #release(): void {
    while (this.#settling === null && this.open) {
      const next = this.#held?.shift();
      if (next === undefined) return;
      this.#heldBytes -= next.frame.length;
      this.context.inbound.remove(next.frame.length);
      this.session?.receive(next.frame, next.allowed);
    }
  }

  #takeFrame(): boolean {
    if (this.#frames < 1) return false;
    this.#frames--;
    return true;
  }

  #refill(now: number): void {
    const { framesPerSecond, bytesPerSecond, byteBurst } = this.context;
    const secs = (now - this.#refilledAt) / 1000;
    this.#refilledAt = now;
    this.#frames = Math.min(this.#frames + secs * framesPerSecond, framesPerSecond * BURST);
    this.#bytes = Math.min(this.#bytes + secs * bytesPerSecond, byteBurst);
  }
}

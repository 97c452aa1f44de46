import type { RevocationKind } from "../auth/revocations.ts";
import type { Listening } from "../hub/addressed.ts";
import { ConflatedClient, type ConflatedTransport } from "../hub/conflation/conflated-client.ts";
import type { Connection } from "../hub/connection.ts";
import { count } from "../hub/stats.ts";
import type { ByteBucket } from "./address-bytes.ts";
import type { ConnectionContext } from "./connection-context.ts";
import type { Session } from "./session.ts";
import type { Transport } from "./transport.ts";

/** How long a client that is being finished may read its backlog, in ms. */
const FINISH_TIMEOUT = 1_000;

/** Malformed frames within the window (ms) that dismiss a client. */
const MAX_MALFORMED = 10;
const MALFORMED_WINDOW = 60_000;

/**
 * Bytes of frames that may be queued during a verification, besides one frame of the largest size. Where the budget of all
 * clients is exceeded, clients with more than this are dismissed: while the key set is not available, every client queues.
 */
const MAX_QUEUED = 64 * 1024;

interface QueuedFrame {
  readonly frame: string | Buffer;
  readonly allowed: boolean;
}

/** One client of any transport: its rates of frames and bytes, its sign of life, and the ways to end it. */
export abstract class Client implements Connection, Transport, ConflatedTransport {
  readonly id: string;
  readonly address: string;
  readonly openedAt: number;
  readonly context: ConnectionContext;
  /** Whether a page of another site opened it: see `AttemptSource`. */
  foreign = false;
  lastSeen: number;
  idleSince: number | null;
  /** To be set once, before the first frame. */
  session: Session | null = null;
  /** How long bytes may wait before a client does not keep up, in ms. */
  readonly lagAfter: number = 300;
  #conflated: ConflatedClient | null = null;
  #dismissed = false;
  #finishing = false;
  #cutOff = false;
  #pending: Promise<void> | null = null;
  /** Frames received during a verification. They are handled after it, in order. */
  #queue: QueuedFrame[] | null = null;
  #queuedBytes = 0;
  /** Continues what waits, if it need not wait (`afterUnlessBusy`). */
  #hurry: (() => void) | null = null;
  /** Frames and bytes that the client may still send now. */
  #frames: number;
  #bytes: number;
  #refilledAt: number;
  /** What all clients of its address share; `null` on loopback. */
  readonly #addressBytes: ByteBucket | null;
  /** When the last malformed frames were received; `null` until there is one. */
  #malformedAt: number[] | null = null;

  constructor(context: ConnectionContext, id: string, address: string) {
    const now = performance.now();
    this.context = context;
    this.id = id;
    this.address = address;
    this.openedAt = Date.now();
    this.lastSeen = now;
    this.idleSince = now;
    this.#frames = context.frameBurst;
    this.#bytes = context.byteBurst;
    this.#refilledAt = now;
    this.#addressBytes = context.addressBytes.bucketOf(address, now);
  }

  /** Whether the transport is open. */
  protected abstract readonly connected: boolean;

  /** Sends at once. Returns the bytes sent, -1 when the frame was queued for a slow client, 0 when it was dropped. */
  protected abstract transmit(frame: string | Buffer): number;

  /** Closes the transport without a close code and frees its backlog. */
  protected abstract terminate(): void;

  abstract buffered(): number;
  abstract ping(): void;
  abstract subscribe(topic: string): boolean;
  abstract unsubscribe(topic: string): void;

  /** Closes the transport now, with a code that the client sees if the network allows. */
  abstract end(code: number, reason: string): void;

  /** Created for the first channel with `slow = "latest"`. */
  get conflated(): ConflatedClient | null {
    this.#conflated ??= new ConflatedClient(this.context.connections.conflated, this);
    return this.#conflated;
  }

  /** Since when bytes wait (`performance.now()`); `undefined` where the transport does not know. */
  get waitingSince(): number | null | undefined {
    return undefined;
  }

  /** Bytes that wait in this process until the client reads. */
  waiting(): number {
    return this.buffered();
  }

  /** See `ConflatedTransport`. */
  fence(_id: number): boolean {
    return false;
  }

  get protocol(): string {
    return this.session?.protocol ?? "none";
  }

  get users(): readonly string[] {
    return this.session?.users ?? [];
  }

  get channels(): readonly string[] {
    return this.session?.channels ?? [];
  }

  listening(channel: string): Listening | null {
    return this.session?.listening?.(channel) ?? null;
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    return this.session?.reliesOn?.(kind, id) ?? false;
  }

  /** Whether frames are exchanged: not once the client is dismissed. */
  get open(): boolean {
    return this.connected && !this.#dismissed;
  }

  /** Whether it was ended because it does not read or gives no sign of life. */
  get wasCutOff(): boolean {
    return this.#cutOff;
  }

  /** A frame from the network. Its bytes are charged before it is parsed. */
  receive(frame: string | Buffer): void {
    if (this.chargeBytes(typeof frame === "string" ? Buffer.byteLength(frame) : frame.length)) {
      this.accept(frame);
    }
  }

  /**
   * Charges bytes to the rates of the client and its address. A client without that many left is dismissed: `false`, they must
   * not be handled.
   */
  chargeBytes(bytes: number): boolean {
    const now = performance.now();
    this.#refill(now);
    const shared = this.#addressBytes;
    if (this.#bytes < bytes || (shared !== null && !this.context.addressBytes.charge(shared, bytes, now))) {
      this.dismiss(1008, "too many bytes");
      this.stopReading();
      return false;
    }
    this.#bytes -= bytes;
    return true;
  }

  /**
   * Charges a frame that costs more than one. The cost may exceed what is left: then no frame is allowed until the rate has
   * made up for it, at most one burst later.
   */
  chargeFrames(frames: number): void {
    this.#frames = Math.max(this.#frames - frames, -this.context.frameBurst);
  }

  /**
   * Calls `then` with a value, now or when its promise resolves. Frames that this client sends meanwhile are queued. Nothing
   * is called once the client is not open.
   */
  after<T>(value: T | Promise<T>, then: (value: T) => void): void {
    if (!(value instanceof Promise)) return then(value);
    this.#pending = value.then((resolved) => {
      this.#pending = null;
      if (!this.open) return;
      then(resolved);
      this.#drainQueue();
    });
  }

  /**
   * As `after`, for what need not be waited for: continues at once where many frames are queued, now or later. Returns whether
   * it waits.
   */
  afterUnlessBusy(value: Promise<void>, then: () => void): boolean {
    if (this.#queuedBytes > MAX_QUEUED / 4) {
      then();
      return false;
    }
    let waits = true;
    const proceed = (): void => {
      if (!waits) return;
      waits = false;
      this.#hurry = null;
      this.#pending = null;
      if (!this.open) return;
      then();
      this.#drainQueue();
    };
    this.#hurry = proceed;
    this.#pending = value.then(proceed);
    return true;
  }

  /** Resolves when the verification that blocks this client's frames is done; `null` when there is none. */
  get pending(): Promise<void> | null {
    return this.#pending;
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

  /** Calls `send`. The frames that it sends leave in one write where the transport can. */
  batch(send: () => void): void {
    send();
  }

  draining(): void {
    if (this.open) this.session?.draining?.();
  }

  get awaitsAnswers(): boolean {
    return this.open && this.session?.awaitsAnswers === true;
  }

  abandonCalls(): void {
    if (this.open) this.session?.abandonCalls?.();
  }

  close(code: number, reason: string): void {
    this.#dismissed = true;
    this.session?.closed();
    this.end(code, reason);
  }

  finish(code: number, reason: string): void {
    if (!this.open || this.#finishing) return;
    this.#finishing = true;
    count(this.context.stats.closed, reason.replaceAll(" ", "_"));
    if (this.buffered() === 0) this.close(code, reason);
    else setTimeout(() => this.open && this.close(code, reason), FINISH_TIMEOUT);
  }

  dismiss(code: number, reason: string): void {
    if (!this.open) return;
    this.#dismissed = true;
    count(this.context.stats.closed, reason.replaceAll(" ", "_"));
    this.#dropQueue();
    this.session?.closed();
    this.context.endLater(this, code, reason);
  }

  cutOff(reason: string): void {
    if (!this.connected || this.#cutOff) return;
    this.#cutOff = true;
    this.#dismissed = true;
    count(this.context.stats.closed, reason);
    this.context.log.debug("cut off a client", { connection: this.id, address: this.address, reason });
    // Terminating calls the session at once, which may be handling a frame now.
    setImmediate(() => this.terminate());
  }

  /** The client has read everything that was sent before a fence. */
  protected readFence(id: number): void {
    this.#conflated?.read(id);
  }

  /** The backlog was sent. */
  protected backlogSent(): void {
    this.#conflated?.drained();
  }

  /** Called when no further frame of a client will be handled. */
  protected stopReading(): void {}

  /** A frame whose bytes are charged. */
  protected accept(frame: string | Buffer): void {
    if (!this.open) return;
    const now = performance.now();
    this.lastSeen = now;
    this.idleSince = null;
    this.#refill(now);
    const allowed = this.#chargeFrame();
    if (this.#pending === null) this.session?.receive(frame, allowed);
    else this.#enqueue({ frame, allowed });
  }

  /** Counts a malformed frame. The tenth within a minute dismisses the client. */
  countMalformed(): void {
    this.#malformedAt ??= [];
    this.#malformedAt.push(this.lastSeen);
    if (this.#malformedAt.length < MAX_MALFORMED) return;
    const first = this.#malformedAt.shift() ?? 0;
    if (this.lastSeen - first <= MALFORMED_WINDOW) this.dismiss(1008, "too many malformed frames");
  }

  /** To be called once, when the transport is open. */
  protected register(): void {
    this.context.stats.connections.opened++;
    this.context.connections.add(this);
    this.session?.opened?.();
  }

  /** To be called once, when the transport is closed. */
  protected unregister(): void {
    this.context.stats.connections.closed++;
    this.context.connections.remove(this);
    this.#dropQueue();
    this.session?.closed();
  }

  #enqueue(queued: QueuedFrame): void {
    this.#queue ??= [];
    this.#queue.push(queued);
    this.#queuedBytes += queued.frame.length;
    this.context.inbound.add(queued.frame.length);
    if (this.#hurry !== null && this.#queuedBytes > MAX_QUEUED / 2) return this.#hurry();
    const limit = this.context.inbound.full ? MAX_QUEUED : this.context.maxFrame + MAX_QUEUED;
    if (this.#queuedBytes > limit) this.dismiss(1008, "too much sent while joining");
  }

  #dropQueue(): void {
    this.context.inbound.remove(this.#queuedBytes);
    this.#queuedBytes = 0;
    this.#queue = null;
  }

  #drainQueue(): void {
    while (this.#pending === null && this.open) {
      const next = this.#queue?.shift();
      if (next === undefined) return;
      this.#queuedBytes -= next.frame.length;
      this.context.inbound.remove(next.frame.length);
      this.session?.receive(next.frame, next.allowed);
    }
  }

  #chargeFrame(): boolean {
    if (this.#frames < 1) return false;
    this.#frames--;
    return true;
  }

  #refill(now: number): void {
    const { framesPerSecond, frameBurst, bytesPerSecond, byteBurst } = this.context;
    const secs = (now - this.#refilledAt) / 1000;
    this.#refilledAt = now;
    this.#frames = Math.min(this.#frames + secs * framesPerSecond, frameBurst);
    this.#bytes = Math.min(this.#bytes + secs * bytesPerSecond, byteBurst);
  }
}

import type { ServerWebSocket } from "bun";
import type { SocketHandler } from "../transports/websocket.ts";

/** A client is pinged after this time without a frame or pong, in ms. */
const PING_AFTER = 25_000;

/** Close codes of a client that leaves by itself: done, going away, and none given (RFC 6455, 7.4.1). */
const LEFT_CODES: ReadonlySet<number> = new Set([1000, 1001, 1005]);

/** ms in which a client reads what it was sent before the other side closed. */
const CLOSE_TIMEOUT = 1000;

const NO_CODE = 1005;
const NO_CLOSE_FRAME = 1006;

export interface RelayLimits {
  /** A client ends after this time without a frame or pong, in ms. */
  readonly idleTimeout: number;
  /** Bytes that wait for one end, at most. */
  readonly maxBuffered: number;
}

/** A socket whose frames another process handles: passes them on in both directions. */
export class RelayedSocket implements SocketHandler {
  /** Whether the other process has accepted it. */
  readonly accepted: Promise<boolean>;
  /** Resolves when both sides have ended. */
  readonly ended: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  readonly #upstream: Bun.WebSocket;
  readonly #limits: RelayLimits;
  #ws: ServerWebSocket<SocketHandler> | null = null;
  /** What came before the client's socket was open. */
  #early: (string | Buffer)[] = [];
  #earlyBytes = 0;
  #closed: { readonly code: number; readonly reason: string } | null = null;
  #lastSeen = performance.now();
  #pingedAt = 0;

  constructor(upstream: Bun.WebSocket, limits: RelayLimits) {
    this.#upstream = upstream;
    this.#limits = limits;
    upstream.binaryType = "nodebuffer";
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.accepted = promise;
    this.ended = this.#ended.promise;
    upstream.onopen = () => resolve(true);
    upstream.onmessage = ({ data }: MessageEvent<string | Buffer>) => this.#pass(data);
    upstream.onclose = ({ code, reason }) => {
      resolve(false);
      this.#closed = { code, reason };
      if (this.#ws === null) this.#ended.resolve();
      this.#end();
    };
    upstream.onerror = () => resolve(false);
  }

  opened(ws: ServerWebSocket<SocketHandler>): void {
    this.#ws = ws;
    for (const frame of this.#early) ws.send(frame);
    this.#early = [];
    this.#end();
  }

  /** Bytes that wait for either end. */
  get buffered(): number {
    return (this.#ws?.getBufferedAmount() ?? 0) + this.#upstream.bufferedAmount;
  }

  receive(frame: string | Buffer): void {
    this.#lastSeen = performance.now();
    if (this.#closed !== null) return;
    this.#upstream.send(frame);
    if (this.#upstream.bufferedAmount > this.#limits.maxBuffered) this.#ws?.terminate();
  }

  pong(): void {
    this.#lastSeen = performance.now();
  }

  drained(): void {}

  closed(code: number): void {
    this.#ws = null;
    if (this.#closed !== null) return this.#ended.resolve();
    // Codes other than 1000 cannot be sent by a client.
    if (LEFT_CODES.has(code)) this.#upstream.close(1000);
    else this.abandon();
  }

  /** To be called several times a second. Ends a client that is gone. @param now `performance.now()` */
  check(now: number): void {
    const silent = now - this.#lastSeen;
    if (silent > this.#limits.idleTimeout) this.#ws?.terminate();
    else if (silent > Math.min(PING_AFTER, this.#limits.idleTimeout / 2) && this.#pingedAt < this.#lastSeen) {
      this.#pingedAt = now;
      this.#ws?.ping();
    }
  }

  /** Ends the client, as a lost connection does. */
  cutOff(): void {
    this.#ws?.terminate();
  }

  /** Ends the other side, as a lost connection does. */
  abandon(): void {
    this.#upstream.terminate();
  }

  /** Ends the client if the other side has ended. A backlog is sent first, for a time: `close` would keep it in memory. */
  #end(): void {
    if (this.#closed === null || this.#ws === null) return;
    if (this.#ws.getBufferedAmount() === 0) this.#close();
    else
      setTimeout(() => (this.#ws?.getBufferedAmount() === 0 ? this.#close() : this.cutOff()), CLOSE_TIMEOUT);
  }

  /** As the other process closed it, if it did. */
  #close(): void {
    if (this.#closed === null) return;
    const { code, reason } = this.#closed;
    if (code === NO_CLOSE_FRAME) this.#ws?.terminate();
    else if (code === NO_CODE) this.#ws?.close();
    else this.#ws?.close(code, reason);
  }

  #pass(frame: string | Buffer): void {
    if (this.#ws !== null) this.#ws.send(frame);
    else {
      this.#early.push(frame);
      this.#earlyBytes += frame.length;
      if (this.#earlyBytes > this.#limits.maxBuffered) this.abandon();
    }
  }
}

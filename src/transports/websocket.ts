import type { ServerWebSocket, WebSocketHandler } from "bun";
import { count } from "../hub/stats.ts";
import { Client } from "./client.ts";

/** How long a closed socket may read its backlog, in ms. */
const CLOSE_TIMEOUT = 1000;

export interface WebSocketLimits {
  /** Largest frame that a client may send, in bytes. */
  readonly maxFrame: number;
  /** Largest backlog of one client, in bytes. */
  readonly maxBuffered: number;
}

/** What handles one socket. */
export interface SocketHandler {
  opened(ws: ServerWebSocket<SocketHandler>): void;
  receive(frame: string | Buffer): void;
  /** @param data what the ping contained */
  pong(data: Buffer): void;
  /** A backlog was sent. */
  drained(): void;
  closed(code: number, reason: string): void;
}

/**
 * The `websocket` option of `Bun.serve` for this transport.
 * @param onClosed called when a socket is closed
 */
export function webSocketHandler(
  limits: WebSocketLimits,
  onClosed: (handler: SocketHandler) => void,
): WebSocketHandler<SocketHandler> {
  return {
    // `Connections` detects silent clients: Bun's own timeout is reset by frames sent to the socket.
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    maxPayloadLength: limits.maxFrame,
    backpressureLimit: limits.maxBuffered,
    closeOnBackpressureLimit: true,
    open(ws) {
      ws.data.opened(ws);
    },
    message(ws, frame) {
      ws.data.receive(frame);
    },
    pong(ws, data) {
      ws.data.pong(data);
    },
    drain(ws) {
      ws.data.drained();
    },
    close(ws, code, reason) {
      ws.data.closed(code, reason);
      onClosed(ws.data);
    },
  };
}

/** The counter of a socket that Bun closed, by Bun's reason: 1009, 1007, otherwise 1002. */
function faultIn(reason: string): string {
  if (reason.includes("too big")) return "frame_too_large";
  return reason.includes("UTF-8") ? "invalid_utf8" : "protocol_error";
}

/** A client on a WebSocket; it is the socket's `data`. */
export class WebSocketClient extends Client implements SocketHandler {
  /** The code of the close frame, 1006 without one (RFC 6455); `null` while the socket is open. */
  closeCode: number | null = null;
  #ws: ServerWebSocket<SocketHandler> | null = null;

  opened(ws: ServerWebSocket<SocketHandler>): void {
    this.#ws = ws;
    this.register();
  }

  /** @param data what the ping contained: the id of a fence, or nothing */
  pong(data: Buffer): void {
    this.lastSeen = performance.now();
    if (data.length > 0) this.readFence(Number(data.toString("latin1")));
  }

  drained(): void {
    this.backlogSent();
  }

  /** The pong comes when the client has read all before it, whatever proxies and kernels have buffered. */
  override fence(id: number): boolean {
    this.#ws?.ping(String(id));
    return true;
  }

  /** @param reason the client's reason or, with 1006, Bun's: empty when the network closed the connection */
  closed(code: number, reason: string): void {
    this.#ws = null;
    this.closeCode = code;
    if (code === 1006 && reason !== "") count(this.context.stats.closed, faultIn(reason));
    this.unregister();
  }

  override subscribe(topic: string): boolean {
    this.#ws?.subscribe(topic);
    return true;
  }

  override unsubscribe(topic: string): void {
    this.#ws?.unsubscribe(topic);
  }

  override buffered(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  override batch(send: () => void): void {
    this.#ws?.cork(send);
  }

  override ping(): void {
    this.#ws?.ping();
  }

  /** A backlog is sent first. If it is not read in time, the socket is terminated: `close` would keep it in memory. */
  override end(code: number, reason: string): void {
    if (this.#ws?.isPaused) this.#ws.resume();
    if (this.buffered() === 0) this.#ws?.close(code, reason);
    else
      setTimeout(
        () => (this.buffered() === 0 ? this.#ws?.close(code, reason) : this.#ws?.terminate()),
        CLOSE_TIMEOUT,
      );
  }

  protected override stopReading(): void {
    this.#ws?.pause();
  }

  protected override get connected(): boolean {
    return this.#ws !== null;
  }

  protected override transmit(frame: string | Buffer): number {
    return this.#ws?.send(frame) ?? 0;
  }

  protected override terminate(): void {
    this.#ws?.terminate();
  }
}

import type { ServerWebSocket } from "bun";
import { count } from "../hub/stats.ts";
import { Client } from "./client.ts";

/** How long a socket that is to be closed may take to read what was sent to it before, in ms. */
const CLOSE_TIMEOUT = 1000;

/** What Bun closes a socket for, by its own words: 1009, 1007, and 1002 for all else. */
function faultIn(reason: string): string {
  if (reason.includes("too big")) return "frame_too_large";
  return reason.includes("UTF-8") ? "invalid_utf8" : "protocol_error";
}

/** A client on a WebSocket; it is the socket's `data`. */
export class WebSocketClient extends Client {
  /** The code of the close frame, 1006 without one (RFC 6455); `null` while the socket is up. */
  closeCode: number | null = null;
  #ws: ServerWebSocket<WebSocketClient> | null = null;

  opened(ws: ServerWebSocket<WebSocketClient>): void {
    this.#ws = ws;
    this.register();
  }

  pong(): void {
    this.lastSeen = performance.now();
  }

  /** @param reason what the client said, or, with 1006, why Bun ended it: nothing where the network did */
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

  override ping(): void {
    this.#ws?.ping();
  }

  /**
   * What is still on its way to the client may leave first. Where it does not, the socket is terminated: `close` on a
   * stalled one would keep its backlog in memory.
   */
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

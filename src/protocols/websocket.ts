import type { ServerWebSocket } from "bun";
import { Client } from "./client.ts";

/** How long a socket that is to be closed may take to read what was sent to it before, in ms. */
const PATIENCE = 1000;

/** A client on a WebSocket; it is the socket's `data`. */
export class WebSocketClient extends Client {
  /** The code of the close frame, 1006 without one (RFC 6455); `null` while the socket is up. */
  closeCode: number | null = null;
  #ws: ServerWebSocket<WebSocketClient> | null = null;

  opened(ws: ServerWebSocket<WebSocketClient>): void {
    this.#ws = ws;
    this.arrive();
  }

  pong(): void {
    this.lastSeen = performance.now();
  }

  closed(code: number): void {
    this.#ws = null;
    this.closeCode = code;
    this.depart();
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
    if (this.buffered() === 0) this.#ws?.close(code, reason);
    else
      setTimeout(
        () => (this.buffered() === 0 ? this.#ws?.close(code, reason) : this.#ws?.terminate()),
        PATIENCE,
      );
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

import type { ServerWebSocket } from "bun";
import { Client } from "./client.ts";

/** A client on a WebSocket; it is the socket's `data`. */
export class WebSocketClient extends Client {
  #ws: ServerWebSocket<WebSocketClient> | null = null;

  opened(ws: ServerWebSocket<WebSocketClient>): void {
    this.#ws = ws;
    this.arrive();
  }

  pong(): void {
    this.lastSeen = Date.now();
  }

  closed(): void {
    this.#ws = null;
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

  /** `close` on a stalled socket would keep its backlog in memory: such a one is terminated. */
  override end(code: number, reason: string): void {
    if (this.buffered() > 0) this.#ws?.terminate();
    else this.#ws?.close(code, reason);
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

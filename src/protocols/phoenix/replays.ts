import type { Client } from "../../transports/client.ts";
import { type CatchUp, type ReplayBudget, type ReplayQueue, STATE_TIMEOUT } from "./catch-up.ts";

/** Bytes that may wait for a client while it is sent more of the history; less where its backlog is limited to less. */
const MAX_WAITING = 1024 * 1024;

/** Bytes of history a second for one client, and what it may be sent at once. */
const BYTES_PER_SECOND = 4 * 1024 * 1024;
const BURST = 1024 * 1024;

/** Part of a client's backlog limit that the history may take: the rest is for live messages. */
const BACKLOG_PART = 4;

/** The members of one client that catch up. They share what the client may be sent. */
export class Replays implements ReplayBudget, ReplayQueue {
  readonly #client: Client;
  #all: CatchUp[] = [];
  #left = BURST;
  #refilledAt = performance.now();

  constructor(client: Client) {
    this.#client = client;
  }

  get empty(): boolean {
    return this.#all.length === 0;
  }

  add(catchUp: CatchUp): void {
    catchUp.queue = this;
    this.#all.push(catchUp);
  }

  remove(catchUp: CatchUp): void {
    this.#all = this.#all.filter((each) => each !== catchUp);
  }

  /** Sends what may be sent now. Members that have caught up go live. */
  pump(now: number): void {
    this.#left = Math.min(BURST, this.#left + ((now - this.#refilledAt) / 1000) * BYTES_PER_SECOND);
    this.#refilledAt = now;
    this.#client.batch(() => this.#pumpAll(now));
    // Another one is the first next time.
    const first = this.#all.shift();
    if (first !== undefined) this.#all.push(first);
  }

  /** Sends what may be sent before the client is disconnected: members no longer wait for their presence state. */
  finish(): void {
    this.pump(performance.now() + STATE_TIMEOUT);
  }

  get idle(): boolean {
    return this.#client.buffered() === 0;
  }

  allows(length: number): boolean {
    const { context } = this.#client;
    if (this.#left <= 0) return false;
    const waiting = this.#client.buffered();
    if (waiting === 0) return true;
    const limit = Math.min(MAX_WAITING, context.maxBuffered / BACKLOG_PART);
    return waiting + length <= limit && context.connections.hasRoom(length);
  }

  spend(length: number): void {
    this.#left -= length;
  }

  #pumpAll(now: number): void {
    for (const catchUp of this.#all) {
      if (!this.#client.open || this.#left <= 0) return;
      if (!catchUp.isReady(now) || !catchUp.advance(this)) continue;
      this.remove(catchUp);
      catchUp.member.goLive();
    }
  }
}

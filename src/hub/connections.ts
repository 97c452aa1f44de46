import type { Connection } from "./connection.ts";

/** Asked for a sign of life after this time without one, in ms, or after half of the idle timeout if that is less. */
const PING_AFTER = 25_000;

/** Between two looks at what waits for slow clients, in ms, while somebody is slow. */
const BUFFER_WATCH = 100;

/** A sweep that comes after so many times its pause shows that the whole process stood still. */
const LATE = 3;

export interface ConnectionLimits {
  /** ms without a sign of life, or without a first frame, after which a connection ends. */
  readonly idleTimeout: number;
  /** Bytes that may wait for all clients together. */
  readonly maxBuffered: number;
}

/** Clients of which at least one may have a backlog over its limit. */
export interface Backlogged {
  /** Cuts off the clients whose backlog is over the limit. */
  checkBacklogs(): void;
}

/** All who are connected: found by id, swept for those who vanished or do not read. */
export class Connections implements Backlogged {
  readonly #limits: ConnectionLimits;
  readonly #byId = new Map<string, Connection>();
  readonly #pinged = new WeakSet<Connection>();
  readonly #sweeper: Timer;
  readonly #pause: number;
  #sweptAt = performance.now();
  /** When this process last went on after a pause of its own: it could hear nobody meanwhile. */
  #resumedAt = Number.NEGATIVE_INFINITY;
  #watch: Timer | null = null;
  /** What waited at the last look, without those cut off then, and at the most what was added since. */
  #waiting = 0;
  #added = 0;
  /** Whether the buffers were looked at because of what was sent in this turn of the event loop. */
  #looked = false;
  /** What was checked in this turn, and whether a frame was dropped for it since. */
  readonly #checked = new Map<Backlogged, boolean>();
  #turnEnd: NodeJS.Immediate | null = null;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
    this.#pause = Math.min(Math.max(limits.idleTimeout / 10, 50), 5_000);
    this.#sweeper = setInterval(() => this.#sweep(performance.now()), this.#pause);
  }

  get size(): number {
    return this.#byId.size;
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  get(id: string): Connection | undefined {
    return this.#byId.get(id);
  }

  all(): Iterable<Connection> {
    return this.#byId.values();
  }

  add(connection: Connection): void {
    this.#byId.set(connection.id, connection);
  }

  remove(connection: Connection): void {
    this.#byId.delete(connection.id);
  }

  /** Bytes that wait for clients to read, of all together. */
  get buffered(): number {
    let total = 0;
    for (const connection of this.#byId.values()) total += connection.buffered();
    return total;
  }

  /** Whether something waits because a client does not read. */
  get watching(): boolean {
    return this.#watch !== null;
  }

  /** To be called whenever something waits because a client does not read; starts the watch over all buffers. */
  noticeBacklog(): void {
    if (this.#watch !== null) return;
    this.#watch = setInterval(() => this.#watchBuffers(), BUFFER_WATCH);
    // What has just begun to wait nobody has counted: the next frame is a reason to look.
    this.#added = Number.POSITIVE_INFINITY;
  }

  /**
   * To be called while `watching`, before so many bytes (of all copies) are sent: looks at the buffers at once where
   * they could be over their budget by now, since a fast backend fills them long before the next regular look. In one
   * turn of the event loop again only after as much as the whole budget: each look costs a walk over all connections.
   */
  expect(bytes: number): void {
    const { maxBuffered } = this.#limits;
    if (this.#waiting + this.#added > maxBuffered && (!this.#looked || this.#added > maxBuffered)) {
      this.#looked = true;
      this.#turnEnd ??= setImmediate(() => this.#endTurn());
      this.#watchBuffers();
    }
    this.#added += bytes;
  }

  /** To be called when a frame was dropped. Checks at once, and once more at the end of a turn in which more was dropped. */
  noticeDrop(clients: Backlogged): void {
    if (this.#checked.has(clients)) {
      this.#checked.set(clients, true);
      return;
    }
    this.#checked.set(clients, false);
    this.#turnEnd ??= setImmediate(() => this.#endTurn());
    clients.checkBacklogs();
  }

  checkBacklogs(): void {
    for (const connection of this.#byId.values()) connection.checkBacklog();
  }

  stop(): void {
    clearInterval(this.#sweeper);
    if (this.#watch !== null) clearInterval(this.#watch);
    if (this.#turnEnd !== null) clearImmediate(this.#turnEnd);
  }

  #endTurn(): void {
    this.#turnEnd = null;
    this.#looked = false;
    const again = [...this.#checked].filter(([, dropped]) => dropped);
    this.#checked.clear();
    for (const [clients] of again) clients.checkBacklogs();
  }

  #sweep(now: number): void {
    const { idleTimeout } = this.#limits;
    const pingAfter = Math.min(PING_AFTER, idleTimeout / 2);
    const resumes = now - this.#sweptAt > LATE * this.#pause;
    this.#sweptAt = now;
    if (resumes) this.#resumedAt = now;
    // Whoever was silent because nobody listened is asked first, and has the usual time to answer.
    const heardBy = this.#resumedAt - pingAfter;
    for (const connection of this.#byId.values()) {
      if (resumes) this.#pinged.delete(connection);
      const silent = now - Math.max(connection.lastSeen, heardBy);
      if (silent >= idleTimeout) {
        connection.cutOff("silent");
        continue;
      }
      if (connection.idleSince !== null && now - Math.max(connection.idleSince, heardBy) >= idleTimeout) {
        connection.finish(1001, "no frame received");
      }
      if (silent < pingAfter) {
        this.#pinged.delete(connection);
      } else if (!this.#pinged.has(connection)) {
        this.#pinged.add(connection);
        connection.ping();
      }
    }
  }

  /** Cuts off the largest backlogs until all together keep to their budget. What is cut off counts no longer. */
  #watchBuffers(): void {
    let total = 0;
    for (const connection of this.#byId.values()) if (!connection.wasCutOff) total += connection.buffered();
    if (total === 0 && this.#watch !== null) {
      clearInterval(this.#watch);
      this.#watch = null;
    }
    if (total > this.#limits.maxBuffered) total = this.#cutLargest(total);
    this.#waiting = total;
    this.#added = 0;
  }

  /** Returns what waits for those who are left. */
  #cutLargest(total: number): number {
    const slow: { readonly connection: Connection; readonly bytes: number }[] = [];
    for (const connection of this.#byId.values()) {
      const bytes = connection.wasCutOff ? 0 : connection.buffered();
      if (bytes > 0) slow.push({ connection, bytes });
    }
    slow.sort((a, b) => b.bytes - a.bytes);
    let left = total;
    for (const { connection, bytes } of slow) {
      connection.cutOff("slow");
      left -= bytes;
      if (left <= this.#limits.maxBuffered) break;
    }
    return left;
  }
}

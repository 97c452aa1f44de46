import { ConflatedClients } from "./conflation/conflated-clients.ts";
import type { Connection } from "./connection.ts";

/** A client is pinged after this time without a frame or pong, in ms, or after half of the idle timeout if that is less. */
const PING_AFTER = 25_000;

/** Interval between two checks of all backlogs, in ms, while there is one. */
const BACKLOG_INTERVAL = 100;

/** Of so many checks while clients lag, one adds up all backlogs. */
const CHECKS_PER_BUDGET = 10;

/** A sweep that is late by this factor means that the whole process was suspended. */
const SUSPENDED_FACTOR = 3;

export interface ConnectionLimits {
  /** A connection ends after this time without a frame or pong, or without a first frame, in ms. */
  readonly idleTimeout: number;
  /** Maximum backlog of all clients together, in bytes. */
  readonly maxBuffered: number;
  /** Maximum backlog of one client, in bytes. Default: `maxBuffered`. */
  readonly maxBufferedPerClient?: number;
}

/** Clients of which at least one may have a backlog over its limit. */
export interface Backlogged {
  /** Cuts off the clients whose backlog is over the limit. */
  checkBacklogs(): void;
}

/** All connections, by id. Ends those whose client is gone or does not read. */
export class Connections implements Backlogged {
  /** The clients that may get less than every message. */
  readonly conflated: ConflatedClients;
  readonly #limits: ConnectionLimits;
  readonly #byId = new Map<string, Connection>();
  readonly #pinged = new WeakSet<Connection>();
  readonly #sweeper: Timer;
  readonly #sweepInterval: number;
  #sweptAt = performance.now();
  /** When this process last resumed after a suspension, during which it received nothing. */
  #resumedAt = Number.NEGATIVE_INFINITY;
  #backlogTimer: Timer | null = null;
  /** The backlog at the last check without what was cut off then, and the maximum that was added since; bytes. */
  #backlog = 0;
  #added = 0;
  #checks = 0;
  /** Whether `expect` has checked the backlogs in this turn of the event loop. */
  #checkedByExpect = false;
  /** What was checked in this turn, and whether a frame was dropped for it since. */
  readonly #checked = new Map<Backlogged, boolean>();
  #turnEnd: NodeJS.Immediate | null = null;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
    this.conflated = new ConflatedClients({ maxBufferedPerClient: limits.maxBuffered, ...limits }, () =>
      this.noticeBacklog(),
    );
    this.#sweepInterval = Math.min(Math.max(limits.idleTimeout / 10, 50), 5_000);
    this.#sweeper = setInterval(() => this.#sweep(performance.now()), this.#sweepInterval);
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

  /** The backlog of all clients together, in bytes. */
  get buffered(): number {
    let total = this.conflated.held.bytes;
    for (const connection of this.#byId.values()) total += connection.buffered();
    return total;
  }

  /** Whether backlogs are checked regularly, because a client has one. */
  get watching(): boolean {
    return this.#backlogTimer !== null;
  }

  /** To be called when a client has a backlog. Starts the regular checks. */
  noticeBacklog(): void {
    if (this.#backlogTimer !== null) return;
    this.#backlogTimer = setInterval(() => this.#checkAll(), BACKLOG_INTERVAL);
    // The size of the new backlog is not known: the next `expect` checks it.
    this.#added = Number.POSITIVE_INFINITY;
  }

  /**
   * To be called while `watching`, before `bytes` (of all copies) are sent. Checks the backlogs now if they could be over their
   * budget, since a fast backend fills them long before the next regular check. A second check in one turn of the
   * event loop needs as much as the whole budget: each walks over all connections.
   */
  expect(bytes: number): void {
    const { maxBuffered } = this.#limits;
    if (this.#backlog + this.#added > maxBuffered && (!this.#checkedByExpect || this.#added > maxBuffered)) {
      this.#checkedByExpect = true;
      this.#turnEnd ??= setImmediate(() => this.#endTurn());
      this.#checkBudget();
    }
    this.#added += bytes;
  }

  /** Whether frames may be sent that could wait: half of the budget is kept for live messages. */
  hasRoom(bytes: number): boolean {
    return !this.watching || this.#backlog + this.#added + bytes <= this.#limits.maxBuffered / 2;
  }

  /** To be called when a frame was dropped. Checks now, and again at the end of the turn if more was dropped in it. */
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
    this.conflated.stop();
    clearInterval(this.#sweeper);
    if (this.#backlogTimer !== null) clearInterval(this.#backlogTimer);
    if (this.#turnEnd !== null) clearImmediate(this.#turnEnd);
  }

  #endTurn(): void {
    this.#turnEnd = null;
    this.#checkedByExpect = false;
    const again = [...this.#checked].filter(([, dropped]) => dropped);
    this.#checked.clear();
    for (const [clients] of again) clients.checkBacklogs();
  }

  #sweep(now: number): void {
    const { idleTimeout } = this.#limits;
    const pingAfter = Math.min(PING_AFTER, idleTimeout / 2);
    const resumed = now - this.#sweptAt > SUSPENDED_FACTOR * this.#sweepInterval;
    this.#sweptAt = now;
    if (resumed) this.#resumedAt = now;
    // After a suspension clients are pinged first, and have the usual time to answer.
    const earliest = this.#resumedAt - pingAfter;
    for (const connection of this.#byId.values()) {
      if (resumed) this.#pinged.delete(connection);
      const idle = now - Math.max(connection.lastSeen, earliest);
      if (idle >= idleTimeout) {
        connection.cutOff("silent");
        continue;
      }
      if (connection.idleSince !== null && now - Math.max(connection.idleSince, earliest) >= idleTimeout) {
        connection.finish(1001, "no frame received");
      }
      if (idle < pingAfter) {
        this.#pinged.delete(connection);
      } else if (!this.#pinged.has(connection)) {
        this.#pinged.add(connection);
        connection.ping();
      }
    }
  }

  #checkAll(): void {
    const { conflated } = this;
    conflated.check(performance.now());
    // A client on a slow line may lag for hours: all connections need not be walked that often for it.
    const isNear = this.#backlog + this.#added > this.#limits.maxBuffered / 2;
    this.#checks = (this.#checks + 1) % CHECKS_PER_BUDGET;
    if (!conflated.active || isNear || this.#checks === 0) this.#checkBudget();
  }

  /** Cuts off the largest backlogs until the rest is within the budget. */
  #checkBudget(): void {
    let total = 0;
    for (const connection of this.#byId.values()) if (!connection.wasCutOff) total += connection.buffered();
    if (total === 0 && this.#backlogTimer !== null && !this.conflated.active) {
      clearInterval(this.#backlogTimer);
      this.#backlogTimer = null;
    }
    const { bytes } = this.conflated.held;
    if (bytes > this.#limits.maxBuffered) this.conflated.shed(bytes - this.#limits.maxBuffered);
    total += bytes;
    if (total > this.#limits.maxBuffered) total = this.#cutLargest(total);
    this.#backlog = total;
    this.#added = 0;
  }

  /** Returns the backlog of the remaining clients. */
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

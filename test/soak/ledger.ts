/**
 * What the soak records of every message, to compare with the server's counters. Messages are numbered per
 * room, so each one is known by its number: received, or lost in a known gap.
 */

/** A message that was published. */
export interface Published {
  readonly room: string;
  readonly serial: number;
  /** `performance.now()` when it was sent to Redis. */
  readonly at: number;
  /** How many subscribers Redis gave it to; `null` where Redis did not answer. */
  receivers: number | null;
}

/** A time in which Redis was down or the server's connections were cut, in `performance.now()`. */
export interface Outage {
  readonly how: string;
  readonly from: number;
  to: number;
}

export class Ledger {
  readonly outages: Outage[] = [];
  /** Room messages by `<room> <serial>`. */
  readonly published = new Map<string, Published>();
  /** Of the observer, who is in every room from first to last. */
  readonly observed = new Set<string>();
  /** Messages without a recipient, by reason, and how many of them Redis sent to the server. */
  readonly odd: Record<string, { sent: number; received: number }> = {};
  readonly pushes = { sent: 0, ok: 0, refused: 0, other: 0, unanswered: 0 };
  /** Pushes answered ok and those refused, by their mark, with when they were answered. */
  readonly accepted = new Map<string, number>();
  readonly refusedMarks = new Set<string>();
  /** Pushes that the backend received. */
  readonly backend = new Map<string, number>();
  readonly joins = { ok: 0, refused: 0, unanswered: 0 };
  readonly clients = { opened: 0, left: 0, closed: 0, cut: 0, failed: 0, lost: 0 };
  /** Broadcast frames that clients received. */
  received = 0;
  readonly faults: string[] = [];

  fault(what: string): void {
    if (this.faults.length < 200) this.faults.push(`${new Date().toISOString()} ${what}`);
  }

  publish(room: string, serial: number): Published {
    const message = { room, serial, at: performance.now(), receivers: null };
    this.published.set(`${room} ${serial}`, message);
    return message;
  }

  /** A room message that a client received; `last` is its last number for each room. */
  receive(client: string, last: Map<string, number>, room: string, serial: number): void {
    this.received++;
    const before = last.get(room);
    last.set(room, serial);
    if (before === undefined || serial === before + 1) return;
    if (serial <= before) this.fault(`${client} received ${room} ${serial} after ${before}`);
    // A hole: each message in it must be one that Redis did not give to the server, or lost in an outage.
    else for (let missing = before + 1; missing < serial; missing++) this.#miss(client, room, missing);
  }

  /** Room messages that Redis sent to the server and that were not received, without those near an outage. */
  lost(): Published[] {
    return [...this.published.entries()]
      .filter(([key, { receivers }]) => receivers === 1 && !this.observed.has(key))
      .map(([, message]) => message)
      .filter(({ at }) => !this.near(at));
  }

  /** Whether an outage was under way at this time, or began or ended within a second of it. */
  near(at: number): boolean {
    return this.outages.some(({ from, to }) => at > from - 1000 && at < to + 1000);
  }

  #miss(client: string, room: string, serial: number): void {
    const message = this.published.get(`${room} ${serial}`);
    if (message === undefined) this.fault(`${client} received a message of ${room} that was never published`);
    else if (message.receivers === 1 && !this.near(message.at))
      this.fault(`${client} missed ${room} ${serial}`);
  }
}

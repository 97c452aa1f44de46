import { isObject, type JsonObject } from "../../auth/json-object.ts";
import type { Fleet } from "../../fleet/fleet.ts";
import type { Identity } from "../../hub/identity.ts";
import { DaySeries } from "./day-series.ts";
import type { FleetSnapshot } from "./fleet-snapshot.ts";
// Type only: the schema library is loaded with the API.
import type { Snapshot } from "./snapshot-schema.ts";
import type { StatsHistory } from "./stats-history.ts";
import { sumCounts } from "./sum-rows.ts";

/** Snapshots kept: as many as those of this server. */
const KEPT = 300;

/** The statistics of all servers: those of this one, and what the others reported last. */
export class FleetStats {
  readonly #history: StatsHistory;
  readonly #identity: Identity;
  readonly #fleet: Fleet | null;
  /** A day of the sums. */
  readonly day = new DaySeries();
  #kept: FleetSnapshot[] = [];

  /** @param fleet `null` for a server that is alone */
  constructor(history: StatsHistory, identity: Identity, fleet: Fleet | null) {
    this.#history = history;
    this.#identity = identity;
    this.#fleet = fleet;
    history.kept = (snapshot) => {
      const sum = this.#sum(snapshot);
      this.day.add(sum);
      if (fleet === null) return;
      this.#kept.push(sum);
      if (this.#kept.length > KEPT) this.#kept.shift();
    };
  }

  now(): FleetSnapshot {
    return this.#sum(this.#history.now());
  }

  /** Oldest first. */
  all(): FleetSnapshot[] {
    if (this.#fleet !== null) return [...this.#kept];
    const servers = [this.#identity.incarnation];
    return this.#history.all().map((snapshot) => ({ ...snapshot, servers }));
  }

  /** What a server reported last, by its name or incarnation; `null` if there is none. */
  of(server: string): JsonObject | null {
    const { name, incarnation } = this.#identity;
    if (server === name || server === incarnation) return this.#history.now();
    for (const peer of this.#fleet?.others.values() ?? []) {
      if (server === peer.name || server === peer.incarnation) return peer.report.stats;
    }
    return null;
  }

  #sum(own: Snapshot): FleetSnapshot {
    let sum = own;
    const servers = [this.#identity.incarnation];
    for (const { incarnation, report } of this.#fleet?.others.values() ?? []) {
      if (report.stopped) continue;
      sum = add(sum, report.stats);
      servers.push(incarnation);
    }
    return { ...sum, servers: servers.sort() };
  }
}

/** Adds what another server reported. `received` stays: each server receives every message. */
function add(sum: Snapshot, other: JsonObject): Snapshot {
  const number = (name: string): number => numberOf(other[name]);
  const volume = ({ messages, bytes }: Snapshot["delivered"], name: string): Snapshot["delivered"] => {
    const more = counts(other[name]);
    return { messages: messages + (more.messages ?? 0), bytes: bytes + (more.bytes ?? 0) };
  };
  return {
    ...sum,
    connections: sumCounts(sum.connections, counts(other.connections)),
    listeners: sumCounts(sum.listeners, counts(other.listeners)),
    channels: sum.channels + number("channels"),
    delivered: volume(sum.delivered, "delivered"),
    pushed: volume(sum.pushed, "pushed"),
    dropped: sumCounts(sum.dropped, counts(other.dropped)),
    refused: sumCounts(sum.refused, counts(other.refused)),
    closed: sumCounts(sum.closed, counts(other.closed)),
    unsendable: sum.unsendable + number("unsendable"),
    unpublished: sum.unpublished + number("unpublished"),
    joins: sum.joins + number("joins"),
    leaves: sum.leaves + number("leaves"),
    opened: sum.opened + number("opened"),
    buffered: sum.buffered + number("buffered"),
    memory: sum.memory + number("memory"),
    loop_delay: Math.max(sum.loop_delay, number("loop_delay")),
  };
}

function counts(value: unknown): Record<string, number> {
  const entries = isObject(value) ? Object.entries(value).slice(0, 100) : [];
  return Object.fromEntries(entries.map(([name, count]) => [name, numberOf(count)]));
}

function numberOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

import type { FleetSnapshot } from "./fleet-snapshot.ts";
import { Series, type SeriesShape } from "./series.ts";

const MINUTE = 60_000;

/** A day of the sums of all servers, one row for each minute: 110 KB. */
export const DAY: SeriesShape = {
  interval: MINUTE,
  slots: 24 * 60,
  rates: [
    ...["received", "delivered", "pushed", "received_bytes", "delivered_bytes", "pushed_bytes"],
    ...["rejected", "dropped", "closed"],
  ],
  gauges: [
    "connections",
    "memberships",
    "channels",
    "buffered",
    "memory",
    "loop_delay",
    "bus_down",
    "servers",
  ],
};

/** Dropped, but not lost: messages without subscribers, and echoes of this server's own. */
const NOT_LOST = new Set(["unheard", "own"]);

/** The figures of the last day. */
export class DaySeries {
  readonly series = new Series(DAY);
  #before: FleetSnapshot | null = null;

  add(snapshot: FleetSnapshot): void {
    const before = this.#before;
    this.#before = snapshot;
    // Sums of different servers cannot be compared.
    const comparable = before !== null && before.servers.join() === snapshot.servers.join();
    const ms = comparable ? Math.max(snapshot.at - before.at, 0) : 0;
    const now = counters(snapshot);
    const old = comparable ? counters(before) : now;
    const { connections, listeners, channels, buffered, memory, loop_delay, bus, servers } = snapshot;
    const down = !bus.live || (before !== null && before.bus.gaps !== bus.gaps);
    this.series.add(
      snapshot.at,
      ms,
      now.map((value, i) => value - (old[i] ?? value)),
      [
        sum(connections),
        sum(listeners),
        channels,
        buffered,
        memory,
        loop_delay,
        down ? 1 : 0,
        servers.length,
      ],
    );
  }
}

/** In the order of `DAY.rates`. */
function counters({ received, delivered, pushed, refused, dropped, closed }: FleetSnapshot): number[] {
  return [
    ...[received.messages, delivered.messages, pushed.messages],
    ...[received.bytes, delivered.bytes, pushed.bytes],
    ...[sum(refused), sum(dropped, NOT_LOST), sum(closed)],
  ];
}

function sum(counts: Readonly<Record<string, number>>, without?: ReadonlySet<string>): number {
  let all = 0;
  for (const [name, count] of Object.entries(counts)) if (!without?.has(name)) all += count;
  return all;
}

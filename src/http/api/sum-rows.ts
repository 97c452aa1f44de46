// Type only: both files are parts of one list.
import type { ChannelEntry } from "./channel-row.ts";

/** One row for each name, with the numbers of all rows. */
export function sumRows(rows: readonly ChannelEntry[]): ChannelEntry[] {
  const sums = new Map<string, ChannelEntry>();
  for (const row of rows) {
    const known = sums.get(row.name);
    sums.set(row.name, known === undefined ? row : sum(known, row));
  }
  return [...sums.values()];
}

function sum(one: ChannelEntry, other: ChannelEntry): ChannelEntry {
  return {
    name: one.name,
    members: one.members + other.members,
    // Each server knows the users of all.
    users: greater(one.users, other.users),
    listeners: sumCounts(one.listeners, other.listeners),
    sent: one.sent + other.sent,
    sent_bytes: one.sent_bytes + other.sent_bytes,
    left_out: one.left_out + other.left_out,
    pushed: one.pushed + other.pushed,
    pushed_bytes: one.pushed_bytes + other.pushed_bytes,
    rate: Math.round((one.rate + other.rate) * 10) / 10,
    last_active: greater(one.last_active, other.last_active),
    history: (one.history?.messages ?? 0) >= (other.history?.messages ?? 0) ? one.history : other.history,
    recoveries: sumCounts(one.recoveries, other.recoveries),
  };
}

function greater(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.max(one, other);
}

/** Adds counts by name. */
export function sumCounts(
  one: Readonly<Record<string, number>>,
  other: Readonly<Record<string, number>>,
): Record<string, number> {
  const counts = { ...one };
  for (const [name, count] of Object.entries(other)) counts[name] = (counts[name] ?? 0) + count;
  return counts;
}

import type { Bus, PublishAck } from "../bus/bus.ts";
import { printTo } from "../bus/topics.ts";

/** What a server sends to backends on `to:` beside the messages of clients on `from:`. */
export interface Exports {
  /** A change of a channel's members, as JSON text. */
  presenceDiff(channel: string, diff: string): void;
  /** An event of the `admin` channel; `null` where these are not exported. */
  readonly adminEvent: ((event: string, payload: string) => void) | null;
}

/** Exports nothing: backends get `from:` only. */
export const NO_EXPORTS: Exports = { presenceDiff: () => {}, adminEvent: null };

/**
 * Exports by the bus. Every server, this one too, ignores what it receives of these names (`isExport`).
 * `ack`: settled for each.
 */
export function createExports(bus: Bus, ack: PublishAck, adminEvents: boolean): Exports {
  return {
    presenceDiff: (channel, diff) => bus.publish(printTo(channel, "presence_diff"), diff, ack),
    adminEvent: adminEvents ? (event, payload) => bus.publish(printTo("admin", event), payload, ack) : null,
  };
}

import type { Bus, PublishAck } from "../bus/bus.ts";
import { printTo } from "../bus/topics.ts";

/** What a server sends to backends on `to:`; `null` if it is turned off. */
export interface Exports {
  /** The changes of a channel's members, as JSON text. `ack` in place of the one for all. */
  readonly presenceDiff: ((channel: string, diff: string, ack?: PublishAck) => void) | null;
  /** An event of the `admin` channel. */
  readonly adminEvent: ((event: string, payload: string) => void) | null;
}

export interface ExportOptions {
  readonly presenceEvents: boolean;
  readonly adminEvents: boolean;
}

/**
 * Exports over the bus; `ack` is settled for each message. Every server, this one included, ignores these names on
 * receipt (`isExport`).
 */
export function createExports(bus: Bus, ack: PublishAck, options: ExportOptions): Exports {
  return {
    presenceDiff: options.presenceEvents
      ? (channel, diff, own = ack) => bus.publish(printTo(channel, "presence_diff"), diff, own)
      : null,
    adminEvent: options.adminEvents
      ? (event, payload) => bus.publish(printTo("admin", event), payload, ack)
      : null,
  };
}

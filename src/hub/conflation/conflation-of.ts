import type { Channel } from "../channel.ts";
import type { Conflation } from "../fanout.ts";
import type { Message } from "../message.ts";

/** Between an event and the connection of a client: neither contains it. */
const SEPARATOR = "\u0000";

/**
 * The newest message of each event, and of each client that sent it to the others, where the rules of the channel say so; presence is never left out.
 * @param skipped the notice that messages were left out; `null` where the protocol has none
 */
export function conflationOf(
  channel: Channel,
  skipped: (count: number) => string | Buffer | null,
): Conflation<Message> | null {
  if (!channel.conflates) return null;
  return {
    keyOf: ({ event, presence, sender }) => {
      if (presence) return null;
      return sender === null ? event : event + SEPARATOR + sender;
    },
    skipped,
    count(leftOut) {
      channel.traffic.leftOut += leftOut;
    },
  };
}

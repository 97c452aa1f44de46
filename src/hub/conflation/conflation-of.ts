import type { Channel } from "../channel.ts";
import type { Conflation } from "../fanout.ts";
import type { Message } from "../message.ts";

/**
 * The newest message of each event, where the rules of the channel say so; presence is never left out.
 * @param skipped the notice that messages were left out; `null` where the protocol has none
 */
export function conflationOf(
  channel: Channel,
  skipped: (count: number) => string | Buffer | null,
): Conflation<Message> | null {
  if (!channel.conflates) return null;
  return {
    keyOf: ({ event, presence }) => (presence ? null : event),
    skipped,
    count(leftOut) {
      channel.traffic.leftOut += leftOut;
    },
  };
}

import type { Outlet } from "../../hub/channel.ts";
import type { Message } from "../../hub/message.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";

/** From a channel of the hub to the connections of this protocol in the room of the same name. */
export class BridgeOutlet implements Outlet {
  readonly protocol = "channelstream";
  readonly #room: ChannelstreamChannel;
  readonly #take: (room: ChannelstreamChannel, message: Message) => number;

  constructor(room: ChannelstreamChannel, take: (room: ChannelstreamChannel, message: Message) => number) {
    this.#room = room;
    this.#take = take;
  }

  get listeners(): number {
    return this.#room.totalConnections;
  }

  deliver(message: Message): number {
    return this.#take(this.#room, message);
  }
}

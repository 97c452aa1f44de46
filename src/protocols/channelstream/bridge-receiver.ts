import type { Receiver } from "../../hub/channel.ts";
import type { Message } from "../../hub/message.ts";
import type { ChannelstreamChannel } from "./channelstream-channel.ts";

/** Receives the messages of a hub channel for the channel of the same name in this protocol. */
export class BridgeReceiver implements Receiver {
  readonly protocol = "channelstream";
  readonly #channel: ChannelstreamChannel;
  readonly #deliver: (channel: ChannelstreamChannel, message: Message) => number;

  constructor(
    channel: ChannelstreamChannel,
    deliver: (channel: ChannelstreamChannel, message: Message) => number,
  ) {
    this.#channel = channel;
    this.#deliver = deliver;
  }

  get listeners(): number {
    return this.#channel.totalConnections;
  }

  deliver(message: Message): number {
    return this.#deliver(this.#channel, message);
  }
}

import type { Channel, Receiver } from "../../hub/channel.ts";
import { conflationOf } from "../../hub/conflation/conflation-of.ts";
import {
  type Conflation,
  type Encoder,
  Fanout,
  type FanoutContext,
  type Subscriber,
} from "../../hub/fanout.ts";
import type { KeptMessage } from "../../hub/history/history.ts";
import type { Positions } from "../../hub/history/positions.ts";
import { Message } from "../../hub/message.ts";
import { beforePayload, binaryBlock, jsonBlock, notice } from "./sse-format.ts";

/** A session as its channel sees it. */
export interface Listener {
  readonly client: Subscriber;
  readonly users: readonly string[];
  /** Ends its subscription to a channel. */
  kick(channel: SseChannel): void;
}

/** A notice that is encoded already. */
interface Notice {
  readonly block: string;
}

/** Encodes the messages of one channel as blocks. Those of presence are left out: listeners are no members. */
class SseEncoder implements Encoder<Message | Notice> {
  readonly protocol = "sse";
  readonly conflation: Conflation<Message | Notice> | null;
  readonly #positions: Positions;
  readonly #quoted: string;
  readonly #numbered: boolean;
  // What stands before the payload, cached for the last event.
  #event: string | null = null;
  #before = "";

  constructor(channel: Channel, positions: Positions) {
    const { name, history } = channel;
    this.#positions = positions;
    this.conflation = withNotices(
      conflationOf(channel, (count) => notice("skipped", { channel: name, count })),
    );
    this.#quoted = JSON.stringify(name);
    this.#numbered = history !== null && history.count > 0;
  }

  encode(message: Message | Notice): string | Buffer | null {
    if ("block" in message) return message.block;
    if (message.presence) return null;
    return this.block(message, this.#numbered && message.seq > 0 ? this.#positions.at(message.seq) : null);
  }

  block({ event, bytes, isJson, json }: Message, id: string | null): Buffer {
    if (!isJson) return binaryBlock(id, this.#quoted, JSON.stringify(event), bytes);
    if (event !== this.#event) {
      this.#event = event;
      this.#before = beforePayload(this.#quoted, JSON.stringify(event));
    }
    return jsonBlock(id, this.#before, bytes.length > 0 ? bytes : Buffer.from(json ?? ""));
  }
}

/** Notices are never left out. */
function withNotices(conflation: Conflation<Message> | null): Conflation<Message | Notice> | null {
  return (
    conflation && {
      ...conflation,
      keyOf: (message) => ("block" in message ? null : conflation.keyOf(message)),
    }
  );
}

/** The listeners of one channel. */
export class SseChannel implements Receiver {
  readonly protocol = "sse";
  readonly channel: Channel;
  /** All of them: those that hear live messages, and those that are still sent older ones. */
  readonly sessions = new Set<Listener>();
  readonly #encoder: SseEncoder;
  readonly #live: Fanout<Message | Notice>;
  readonly #positions: Positions;

  constructor(channel: Channel, positions: Positions, context: FanoutContext) {
    this.channel = channel;
    this.#positions = positions;
    this.#encoder = new SseEncoder(channel, positions);
    // No client of this protocol subscribes to the topic.
    this.#live = new Fanout(`sse\u0000${channel.name}`, this.#encoder, context.connections, context);
  }

  get listeners(): number {
    return this.sessions.size;
  }

  /** From now on a session hears live messages. */
  join({ client }: Listener): void {
    this.#live.add(client);
  }

  /** @param live whether it has joined */
  leave({ client }: Listener, live: boolean): void {
    if (live) this.#live.remove(client);
  }

  deliver(message: Message): number {
    return this.#live.deliver(message);
  }

  /** Messages may be missing: live clients get a notice. The others find out when they are sent older messages. */
  resubscribed(): void {
    const gap = { channel: this.channel.name, reason: "gap" };
    this.#live.deliver({ block: notice("gap", gap, this.#positions.current) });
  }

  /** Ends the subscriptions of a user; returns their number. */
  kick(user: string): number {
    const of = [...this.sessions].filter(({ users }) => users.includes(user));
    for (const session of of) session.kick(this);
    return of.length;
  }

  /** The block of a kept message. @param numbered whether clients can resume from it */
  blockOf({ event, payload, seq }: KeptMessage, numbered: boolean): Buffer {
    return this.#encoder.block(
      new Message(event, payload, false, seq),
      numbered ? this.#positions.at(seq) : null,
    );
  }
}

import type { Listening } from "../../hub/addressed.ts";
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

/** Whether the messages of a channel have positions, from which clients can resume. */
export function isNumbered({ history }: Pick<Channel, "history">): boolean {
  return history !== null && history.count > 0;
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

  /** @param numbered whether blocks carry positions */
  constructor(channel: Channel, positions: Positions, numbered: boolean) {
    const { name } = channel;
    this.#positions = positions;
    this.conflation = withNotices(
      conflationOf(channel, (count) => notice("skipped", { channel: name, count })),
    );
    this.#quoted = JSON.stringify(name);
    this.#numbered = numbered;
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
  /** All of them: those that receive live messages, and those that are still sent older ones. */
  readonly sessions = new Set<Listener>();
  readonly #context: FanoutContext;
  readonly #positions: Positions;
  readonly #encoder: SseEncoder;
  readonly #live: Fanout<Message | Notice>;
  /** Listeners that get blocks without positions; `null` until there is one. */
  #bare: Fanout<Message | Notice> | null = null;

  constructor(channel: Channel, positions: Positions, context: FanoutContext) {
    this.channel = channel;
    this.#positions = positions;
    this.#context = context;
    this.#encoder = new SseEncoder(channel, positions, isNumbered(channel));
    this.#live = this.#fanout("sse", this.#encoder);
  }

  get name(): string {
    return this.channel.name;
  }

  get listeners(): number {
    return this.sessions.size;
  }

  /** From now on a session receives live messages. @param numbered with their positions, if the channel has any */
  join({ client }: Listener, numbered: boolean): void {
    if (numbered) return this.#live.add(client);
    this.#bare ??= this.#fanout("sse-bare", new SseEncoder(this.channel, this.#positions, false));
    this.#bare.add(client);
  }

  /** To be called with the arguments of `join`. */
  leave({ client }: Listener, numbered: boolean): void {
    (numbered ? this.#live : this.#bare)?.remove(client);
  }

  /** @param numbered as in `join`; `null` for a session that did not join yet: it gets messages for it alone */
  listening({ client }: Listener, numbered: boolean | null): Listening {
    const fanout = numbered === false ? this.#bare : this.#live;
    return {
      pause: () => numbered !== null && fanout?.pause(client),
      resume: () => numbered !== null && fanout?.resume(client),
      deliver: (message) => {
        const block = this.#encoder.encode(message);
        if (block === null) return false;
        if (numbered === null) client.send(block);
        else fanout?.sendTo(client, block);
        return true;
      },
    };
  }

  deliver(message: Message): number {
    return this.#live.deliver(message) + (this.#bare?.deliver(message) ?? 0);
  }

  /** Messages may be missing: live clients get a notice. The others find out when they are sent older messages. */
  resubscribed(): void {
    if (!isNumbered(this.channel)) return;
    const gap = { channel: this.name, reason: "gap" };
    this.#live.deliver({ block: notice("gap", gap, this.#positions.current) });
    this.#bare?.deliver({ block: notice("gap", gap) });
  }

  /** Ends the subscriptions of a user; returns their number. */
  kick(user: string): number {
    const of = [...this.sessions].filter(({ users }) => users.includes(user));
    for (const session of of) session.kick(this);
    return of.length;
  }

  /** The block of a kept message. @param numbered whether it carries its position */
  blockOf({ event, payload, seq }: KeptMessage, numbered: boolean): Buffer {
    return this.#encoder.block(
      new Message(event, payload, false, seq),
      numbered ? this.#positions.at(seq) : null,
    );
  }

  /** No client of this protocol subscribes to the topic. */
  #fanout(topic: string, encoder: SseEncoder): Fanout<Message | Notice> {
    const { connections } = this.#context;
    return new Fanout(`${topic}\u0000${this.name}`, encoder, connections, this.#context);
  }
}

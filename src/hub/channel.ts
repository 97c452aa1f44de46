import type { Connection } from "./connection.ts";
import type { Backlogged } from "./connections.ts";
import type { Message } from "./message.ts";
import type { ChannelPresence, Meta } from "./presence/presence-store.ts";
import { Traffic } from "./traffic.ts";

/** One join of one connection. Also what presence shows of it. */
export interface Member extends Meta {
  readonly connection: Connection;
  readonly channel: Channel;
  /** The agent id: `<conn_id>:<topic>:<join_ref>`. */
  readonly agent: string;
  readonly seesPresence: boolean;
  /** Sends one event to this member alone, in its wire format. `payload` is JSON text. */
  send(event: string, payload: string): void;
  /** Ends this membership for good: its client is told, and does not come back by itself. */
  kick(): void;
}

/** Sees what goes from members to backends. */
export interface Watcher {
  /** `agent`: who pushed it; empty for a notice of ours, of a join or a leave. */
  pushed(agent: string, event: string, payload: string | Uint8Array): void;
}

/** Receives the messages of a channel for subscribers of one protocol: a `Fanout`, or what chooses one for each message. */
export interface Receiver {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** How many memberships or subscriptions it serves. */
  readonly listeners: number;
  /** Encodes the message and sends it. Returns the number of subscribers it went to. */
  deliver(message: Message): number;
}

/** What holds for one channel, from the configuration. */
export interface ChannelRules {
  readonly presence: boolean;
}

/** A named stream: its members, and the receivers of its messages. The hub keeps it; protocols add and remove receivers. */
export class Channel implements Backlogged {
  readonly name: string;
  /** `null` where presence is turned off. */
  readonly presence: ChannelPresence | null;
  readonly members = new Set<Member>();
  readonly receivers: Receiver[] = [];
  readonly traffic = new Traffic();
  /** `null` unless somebody reads along. */
  watcher: Watcher | null = null;
  /** Members who joined within the present window and still wait for the state. */
  awaiting: Member[] = [];
  /** The names of the bus that the hub keeps for it, as they came in. */
  readonly names: string[] = [];

  constructor(name: string, presence: ChannelPresence | null) {
    this.name = name;
    this.presence = presence;
  }

  addReceiver(receiver: Receiver): void {
    this.receivers.push(receiver);
  }

  removeReceiver(receiver: Receiver): void {
    const index = this.receivers.indexOf(receiver);
    if (index >= 0) this.receivers.splice(index, 1);
  }

  checkBacklogs(): void {
    for (const { connection } of this.members) connection.checkBacklog();
  }
}

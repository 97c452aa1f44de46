import type { CallRules } from "./calls/call-rules.ts";
import { type ClientEventRules, SERVER_CHANNELS } from "./client-events.ts";
import type { Connection } from "./connection.ts";
import type { Backlogged } from "./connections.ts";
import type { HistoryRules } from "./history/history.ts";
import type { Message } from "./message.ts";
import type { ChannelPresence, Meta } from "./presence/presence-store.ts";
import { Traffic } from "./traffic.ts";

/** One membership of a connection in a channel, with what presence shows of it. */
export interface Member extends Meta {
  readonly connection: Connection;
  readonly channel: Channel;
  /** The agent id: `<conn_id>:<topic>:<join_ref>`. */
  readonly agent: string;
  readonly seesPresence: boolean;
  /** How it recovered what it missed: `recovered`, or the reason why not; `null` if it did not ask. */
  readonly recovery?: string | null;
  /** What presence shows of it: itself, until its metadata is replaced. */
  meta: Meta;
  /** Sends one event to this member alone, in its wire format. `payload` is JSON text. */
  send(event: string, payload: string): void;
  /** Leaves it out of what the channel is sent until `resume`, which must be called in the same turn of the event loop. */
  pause(): void;
  resume(): void;
  /** Ends this membership. Its client is notified, and does not rejoin by itself. */
  kick(): void;
}

/** Observes what is published from a channel to backends. */
export interface PushObserver {
  /** @param sender the member that pushed it; `null` for a notice of this server about a join or a leave */
  pushed(sender: Member | null, event: string, payload: string | Uint8Array): void;
}

/** Receives the messages of a channel for subscribers of one protocol: a `Fanout`, or what chooses one for each message. */
export interface Receiver {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** How many memberships or subscriptions it serves. */
  readonly listeners: number;
  /** Encodes the message and sends it. Returns the number of subscribers it went to. */
  deliver(message: Message): number;
  /**
   * Called where the channel has history: the subscription was lost and is back, so that messages may be missing. Positions are
   * known again.
   */
  resubscribed?(): void;
  /** Ends the subscriptions of a user that are no memberships, and returns their number; absent: there are none. */
  kick?(user: string): number;
}

/** The configuration of one channel. */
export interface ChannelRules {
  /** `"count"`: members get the number of members only. */
  readonly presence: boolean | "count";
  /** Whether a push of `presence` replaces a member's metadata. */
  readonly presenceMeta: boolean;
  /** Whether pushes are also published with their sender. */
  readonly namesSender: boolean;
  /** What is kept of it; `null`: nothing. */
  readonly history: HistoryRules | null;
  /** Whether a client that does not keep up gets only the newest message of each event. */
  readonly conflates?: boolean;
  /** Whether payloads of backends are not checked for JSON. Default: false. */
  readonly trustsJson?: boolean;
  /** Which pushes the other members get. Default: none. */
  readonly clientEvents?: ClientEventRules | null;
  /** Which pushes a backend answers. Default: none. */
  readonly calls?: CallRules | null;
}

const NO_RULES: ChannelRules = { presence: false, presenceMeta: false, namesSender: false, history: null };

/** A named stream: its members, and the receivers of its messages. The hub keeps it; protocols add and remove receivers. */
export class Channel implements Backlogged {
  readonly name: string;
  /** `null` where presence is turned off, and where members are only counted. */
  readonly presence: ChannelPresence | null;
  /** What is kept of its messages; `null`: nothing. */
  readonly history: HistoryRules | null;
  /** Whether a client that does not keep up gets only the newest message of each event. */
  readonly conflates: boolean;
  /** Whether payloads of backends are not checked for JSON. */
  readonly trustsJson: boolean;
  /** Whether members get the number of members (`PresenceCounts`). */
  readonly counted: boolean;
  /** Whether a push of `presence` replaces a member's metadata. */
  readonly presenceMeta: boolean;
  /** Whether pushes are also published with their sender. */
  readonly namesSender: boolean;
  /** Which pushes the other members get; `null`: none. */
  readonly clientEvents: ClientEventRules | null;
  /** Which pushes a backend answers; `null`: none. */
  readonly calls: CallRules | null;
  /** When members got the last count (`performance.now()`). */
  countedAt = Number.NEGATIVE_INFINITY;
  readonly members = new Set<Member>();
  readonly receivers: Receiver[] = [];
  readonly traffic = new Traffic();
  /** Members that asked to recover since it was opened, by result; `null` without any. */
  recoveries: Record<string, number> | null = null;
  /** `null` unless the channel is inspected. */
  observer: PushObserver | null = null;
  /** Members that wait for the presence state. */
  awaitingState: Member[] = [];
  /** The names on the bus that the hub has cached for it, as latin1 text. */
  readonly names: string[] = [];

  constructor(name: string, presence: ChannelPresence | null, rules: ChannelRules = NO_RULES) {
    this.name = name;
    this.presence = presence;
    this.history = rules.history;
    this.conflates = rules.conflates ?? false;
    this.trustsJson = rules.trustsJson ?? false;
    this.counted = rules.presence === "count";
    this.namesSender = rules.namesSender;
    this.clientEvents = SERVER_CHANNELS.has(name) ? null : (rules.clientEvents ?? null);
    this.calls = rules.calls ?? null;
    this.presenceMeta = rules.presenceMeta && presence !== null;
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

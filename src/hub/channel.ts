import type { Connection } from "./connection.ts";
import type { Message } from "./message.ts";
import type { Meta, Presence } from "./presence/presence.ts";
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

/** A way from a channel to those of its listeners who share one wire format. */
export interface Outlet {
  /** `"phoenix"`, ... */
  readonly protocol: string;
  /** How many memberships or subscriptions it serves. */
  readonly listeners: number;
  /** Encodes the message once and sends it to all; returns to how many. */
  deliver(message: Message): number;
}

/** What holds for one channel, from the configuration. */
export interface ChannelRules {
  readonly presence: boolean;
}

/** A named stream: those who are in it, and the ways to them. The hub keeps it; protocols add and remove outlets. */
export class Channel {
  readonly name: string;
  /** `null` where presence is turned off. */
  readonly presence: Presence | null;
  readonly members = new Set<Member>();
  readonly outlets: Outlet[] = [];
  readonly traffic = new Traffic();
  /** `null` unless somebody reads along. */
  watcher: Watcher | null = null;
  /** Members who joined within the present window and still wait for the state. */
  awaiting: Member[] = [];
  /** The names of the bus that the hub keeps for it, as they came in. */
  readonly names: string[] = [];

  constructor(name: string, presence: Presence | null) {
    this.name = name;
    this.presence = presence;
  }

  addOutlet(outlet: Outlet): void {
    this.outlets.push(outlet);
  }

  removeOutlet(outlet: Outlet): void {
    const index = this.outlets.indexOf(outlet);
    if (index >= 0) this.outlets.splice(index, 1);
  }
}

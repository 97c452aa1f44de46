import type { Channel, Outlet } from "../../hub/channel.ts";
import type { Connections } from "../../hub/connections.ts";
import type { Message } from "../../hub/message.ts";
import type { Publisher } from "../../hub/publisher.ts";
import type { Stats } from "../../hub/stats.ts";
import type { Client } from "../../transports/client.ts";

interface Entry {
  /** The Bun topic of this one subscription. */
  readonly topic: string;
  clients: number;
}

/** Those who follow events of one group (channel): one Bun topic for each event, which carries bare payloads. */
export class GroupOutlet implements Outlet {
  readonly protocol = "groups";
  readonly channel: Channel;
  readonly #publisher: Publisher;
  readonly #connections: Connections;
  readonly #stats: Stats;
  readonly #entries = new Map<string, Entry>();

  constructor(channel: Channel, publisher: Publisher, connections: Connections, stats: Stats) {
    this.channel = channel;
    this.#publisher = publisher;
    this.#connections = connections;
    this.#stats = stats;
  }

  /** Whether nobody is left. */
  get empty(): boolean {
    return this.#entries.size === 0;
  }

  get listeners(): number {
    let listeners = 0;
    for (const { clients } of this.#entries.values()) listeners += clients;
    return listeners;
  }

  /** To be called once for each client and event, before `remove` once. */
  add(client: Client, event: string): void {
    let entry = this.#entries.get(event);
    if (entry === undefined) {
      // No name holds the separator: two different pairs never share a topic, nor one of another protocol.
      entry = { topic: `groups\u0000${this.channel.name}\u0000${event}`, clients: 0 };
      this.#entries.set(event, entry);
    }
    entry.clients++;
    client.subscribe(entry.topic);
  }

  remove(client: Client, event: string): void {
    const entry = this.#entries.get(event);
    if (entry === undefined) return;
    client.unsubscribe(entry.topic);
    if (--entry.clients === 0) this.#entries.delete(event);
  }

  deliver(message: Message): number {
    const entry = this.#entries.get(message.event);
    if (entry === undefined || message.presence) return 0;
    if (message.json === null) {
      this.#stats.unsendable += entry.clients;
      return 0;
    }
    const sent = this.#publisher.publish(entry.topic, message.json);
    if (sent === -1) this.#connections.noticeBacklog();
    // Only Bun knows who follows what: everybody is checked.
    else if (sent === 0) this.#connections.noticeDrop(this.#connections);
    return entry.clients;
  }
}

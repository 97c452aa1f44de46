import type { Channel, Member, Receiver } from "../../../src/hub/channel.ts";
import type { Message } from "../../../src/hub/message.ts";
import type { Meta } from "../../../src/hub/presence/presence-store.ts";
import { FakeConnection } from "./fake-connection.ts";

export interface ReceivedEvent {
  readonly event: string;
  readonly payload: string;
}

/** A member that records what it is sent, to itself or to the channel, in order. */
export class FakeMember implements Member {
  readonly connection: FakeConnection;
  readonly channel: Channel;
  readonly agent: string;
  readonly user: string;
  readonly ref: string;
  readonly onlineAt = 1_700_000_000_000;
  readonly seesPresence: boolean;
  readonly received: ReceivedEvent[] = [];
  meta: Meta = this;
  paused = false;

  constructor(channel: Channel, ref: string, user = ref, seesPresence = true) {
    this.channel = channel;
    this.ref = ref;
    this.user = user;
    this.agent = `${ref}:${channel.name}:1`;
    this.seesPresence = seesPresence;
    this.connection = new FakeConnection(ref);
  }

  send(event: string, payload: string): void {
    this.received.push({ event, payload });
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  kick(): void {
    this.received.push({ event: "kicked", payload: "" });
  }

  get events(): string[] {
    return this.received.map(({ event }) => event);
  }

  payloads(event: string): string[] {
    return this.received.filter((each) => each.event === event).map((each) => each.payload);
  }
}

/** The way to a set of members, as a protocol makes one for each of its formats. */
export class FakeReceiver implements Receiver {
  readonly protocol = "fake";
  readonly members = new Set<FakeMember>();
  readonly messages: Message[] = [];

  get listeners(): number {
    return this.members.size;
  }

  deliver(message: Message): number {
    this.messages.push(message);
    for (const member of this.members) {
      if (!member.paused && (!message.presence || member.seesPresence)) {
        member.send(message.event, message.json ?? message.bytes.toString("hex"));
      }
    }
    return this.members.size;
  }
}

import type { Channel, Member } from "../../hub/channel.ts";
import type { Client } from "../../transports/client.ts";
import type { Ref } from "./phoenix-codec.ts";
import type { PhoenixFanout } from "./phoenix-encoder.ts";

/** Whose membership it is. */
export interface Owner {
  readonly client: Client;
  /** Sends a frame behind the answers that are still to come. */
  answer(frame: string): void;
  /** The membership's token ran out. */
  expire(member: Membership): void;
  /** The membership is to end for good. */
  kick(member: Membership): void;
}

/** The id that a join is known by: `<conn_id>:<topic>:<join_ref>`. */
export function agentId(client: Client, topic: string, joinRef: Ref): string {
  return `${client.id}:${topic}:${joinRef ?? ""}`;
}

/** One topic joined by one Phoenix client. There are many: its ids are put together when asked for. */
export class Membership implements Member {
  readonly owner: Owner;
  fanout: PhoenixFanout;
  readonly joinRef: Ref;
  readonly user: string;
  readonly onlineAt: number;
  /** The slot under which the end of its token is remembered; 0 for none. */
  expirySlot = 0;
  canPush: boolean;
  /** The id of its token, where it has one. */
  jti: string | undefined = undefined;
  /** Counts the joins of its client. */
  readonly #serial: number;
  /** The join_ref, or the ref of a join without one. */
  readonly #agentRef: Ref;
  /** Whether its token came with the join or a renewal; else it is the socket's. */
  ownToken: boolean;

  constructor(
    owner: Owner,
    fanout: PhoenixFanout,
    joinRef: Ref,
    agentRef: Ref,
    serial: number,
    user: string,
    canPush: boolean,
    ownToken: boolean,
  ) {
    this.owner = owner;
    this.fanout = fanout;
    this.joinRef = joinRef;
    this.#agentRef = agentRef;
    this.#serial = serial;
    this.user = user;
    this.onlineAt = Date.now();
    this.canPush = canPush;
    this.ownToken = ownToken;
  }

  get connection(): Client {
    return this.owner.client;
  }

  get channel(): Channel {
    return this.fanout.encoder.channel;
  }

  get agent(): string {
    return agentId(this.connection, this.channel.name, this.#agentRef);
  }

  get ref(): string {
    return `${this.connection.id}.${this.#serial}`;
  }

  get seesPresence(): boolean {
    return this.fanout.encoder.format.presence;
  }

  /** Whether a frame with this join_ref speaks of an earlier membership. A null one means the current. */
  isStale(joinRef: Ref): boolean {
    return joinRef !== null && this.joinRef !== null && String(joinRef) !== String(this.joinRef);
  }

  send(event: string, payload: string): void {
    this.connection.send(this.fanout.encoder.frameFor(this.joinRef, event, payload));
  }

  expire(): void {
    this.owner.expire(this);
  }

  kick(): void {
    this.owner.kick(this);
  }

  /** Tells the client that this membership is over: `phx_close`, for good, or `phx_error`, after which it rejoins. */
  end(event: "phx_close" | "phx_error", payload: string): void {
    const { format, quotedTopic } = this.fanout.encoder;
    const { joinRef } = this;
    this.owner.answer(format.codec.push(joinRef, joinRef, quotedTopic, JSON.stringify(event), payload));
  }
}

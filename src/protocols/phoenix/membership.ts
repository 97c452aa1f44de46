import type { Listening } from "../../hub/addressed.ts";
import type { Channel, Member } from "../../hub/channel.ts";
import type { Subscriber } from "../../hub/fanout.ts";
import type { Lost } from "../../hub/history/history.ts";
import type { Message } from "../../hub/message.ts";
import type { Meta } from "../../hub/presence/presence-store.ts";
import type { Client } from "../../transports/client.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Ref } from "./phoenix-codec.ts";
import type { PhoenixFanout } from "./phoenix-encoder.ts";
import { PositionFanout } from "./position-fanout.ts";

/** Updates of the metadata of one member within a second. */
const UPDATES_PER_SECOND = 10;

/** The session of a membership. */
export interface Owner {
  readonly client: Client;
  /** Sends a frame behind the replies that are still expected. */
  reply(frame: string): void;
  /** The membership's token expired. */
  expire(member: Membership): void;
  /** Ends the membership for good. */
  kick(member: Membership): void;
  /** The membership was to get messages that are no longer kept. */
  overtaken(): void;
}

/** The id of a join: `<conn_id>:<topic>:<join_ref>`. */
export function agentId(client: Client, topic: string, joinRef: Ref): string {
  return `${client.id}:${topic}:${joinRef ?? ""}`;
}

/** One topic joined by one Phoenix client. To save memory, its ids are built on demand. */
export class Membership implements Member, Listening {
  readonly owner: Owner;
  fanout: PhoenixFanout;
  readonly joinRef: Ref;
  readonly user: string;
  readonly onlineAt: number;
  /** The timer slot of its token's expiry; 0 for none. */
  expirySlot = 0;
  canPush: boolean;
  /** The id (`jti`) of its token, if any. */
  jti: string | undefined = undefined;
  /** Metadata of the join, as in `Meta`. */
  info = "";
  meta: Meta = this;
  /** What came of its position; `null` if its join had none. */
  recovery: "recovered" | Lost | null = null;
  /** Stands in the fanout in place of the client while it gets messages from the history; `null` once it is live. */
  catchUp: CatchUp | null = null;
  /** The number of the last message whose position it was sent alone. */
  #reported = 0;
  /** Times (`performance.now()`) of the last updates of its metadata; `null` before the first. */
  #updates: number[] | null = null;
  /** The number of its join among those of its client. */
  readonly #serial: number;
  /** The join_ref, or the ref of a join without one. */
  readonly #agentRef: Ref;
  /** Whether its token came with the join or a renewal; otherwise it is the socket's. */
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

  /** Whether its metadata may be replaced now. Each call that returns true counts. */
  mayUpdate(now: number): boolean {
    this.#updates ??= [];
    const updates = this.#updates;
    if (updates.length >= UPDATES_PER_SECOND && now - (updates[0] ?? 0) < 1000) return false;
    if (updates.length >= UPDATES_PER_SECOND) updates.shift();
    updates.push(now);
    return true;
  }

  /** Whether a frame with this join_ref belongs to an earlier membership. `null` means the current one. */
  isStale(joinRef: Ref): boolean {
    return joinRef !== null && this.joinRef !== null && String(joinRef) !== String(this.joinRef);
  }

  send(event: string, payload: string): void {
    this.fanout.sendTo(this.connection, this.fanout.encoder.frameFor(this.joinRef, event, payload));
    if (event === "presence_state") this.catchUp?.stateSent();
  }

  /** Starts to get messages of its fanout. */
  subscribe(): void {
    this.fanout.add(this.#subscriber);
  }

  unsubscribe(): void {
    this.fanout.remove(this.#subscriber);
  }

  pause(): void {
    this.fanout.pause(this.#subscriber);
  }

  resume(): void {
    this.fanout.resume(this.#subscriber);
  }

  deliver(message: Message): boolean {
    const frame = this.fanout.encoder.encode(message);
    if (frame === null) return false;
    this.fanout.sendTo(this.#subscriber, frame);
    return true;
  }

  /** It has caught up. */
  goLive(): void {
    this.unsubscribe();
    this.catchUp = null;
    this.subscribe();
    if (this.fanout instanceof PositionFanout) this.#reported = this.fanout.unreported;
  }

  /** Messages that it was to get are no longer kept. */
  overtaken(reason: Lost): void {
    this.recovery = reason;
    this.owner.overtaken();
  }

  /** Sends the position of a binary frame that no other frame has had. */
  reportPosition(): void {
    const { fanout } = this;
    if (!(fanout instanceof PositionFanout) || this.catchUp !== null) return;
    const { unreported } = fanout;
    if (unreported === 0 || unreported === this.#reported) return;
    this.#reported = unreported;
    this.#sendPosition(fanout.positionOf(unreported));
  }

  /** Sends the newest position, which may be far beyond the last message of its channel. */
  reportNewestPosition(): void {
    const { fanout } = this;
    if (!(fanout instanceof PositionFanout) || this.catchUp?.isDone === false) return;
    this.#sendPosition(fanout.newestPosition);
  }

  expire(): void {
    this.owner.expire(this);
  }

  kick(): void {
    this.owner.kick(this);
  }

  get #subscriber(): Subscriber {
    return this.catchUp ?? this.connection;
  }

  #sendPosition(position: string | null): void {
    if (position === null) return;
    // Behind the messages that wait for it: it has not got them yet.
    this.fanout.sendTo(this.connection, this.fanout.encoder.positionFrame(this.joinRef, position));
  }

  /** Notifies the client that this membership ended: `phx_close`, for good, or `phx_error`, after which it rejoins. */
  end(event: "phx_close" | "phx_error", payload: string): void {
    const { format, quotedTopic } = this.fanout.encoder;
    const { joinRef } = this;
    // Behind the messages that wait for it.
    this.fanout.flush(this.connection);
    this.owner.reply(format.codec.push(joinRef, joinRef, quotedTopic, JSON.stringify(event), payload));
  }
}

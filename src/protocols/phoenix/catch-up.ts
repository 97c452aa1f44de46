import type { Channel } from "../../hub/channel.ts";
import type { Subscriber } from "../../hub/fanout.ts";
import type { KeptMessage, Lost } from "../../hub/history/history.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Ref } from "./phoenix-codec.ts";
import type { PhoenixFanout } from "./phoenix-encoder.ts";
import type { Recovery } from "./recovery.ts";
import type { ReplayFrames } from "./replay-frames.ts";

/** Messages read from the history at once. */
const BATCH = 64;

/** Frames and characters of live events that one member keeps back; beyond, the oldest are sent early. */
const MAX_HELD = 1000;
const MAX_HELD_SIZE = 1024 * 1024;

/**
 * How long a member waits for its presence state before it gets messages, in ms. Usually it is there at once; a server that was
 * just started may not know the members on others for some seconds.
 */
export const STATE_TIMEOUT = 300;

/** What one client may be sent now. */
export interface ReplayBudget {
  /** Whether nothing waits for the client. */
  readonly idle: boolean;
  /** Whether a frame of this length may be sent. */
  allows(length: number): boolean;
  /** A frame was sent. */
  spend(length: number): void;
}

/** A member that catches up. */
export interface ReplayMember {
  readonly connection: { send(frame: string | Buffer): void };
  readonly channel: Channel;
  readonly fanout: PhoenixFanout;
  readonly joinRef: Ref;
  /** It has caught up: it gets what its fanout sends. */
  goLive(): void;
  /** Messages that it was to get are no longer kept. */
  overtaken(reason: Lost): void;
}

/** The members of one client that catch up. */
export interface ReplayQueue {
  readonly empty: boolean;
  /** Sends what may be sent now. */
  pump(now: number): void;
}

/** What all members that catch up share. */
export interface ReplayContext {
  readonly frames: ReplayFrames;
  /** A member of a client may be sent more than before. */
  soon(queue: ReplayQueue): void;
}

/** A live event that is not in the history, and the number of the message that it followed. */
interface HeldFrame {
  readonly seq: number;
  readonly frame: string | Buffer;
}

/**
 * A member that gets messages from the history until it has caught up with live ones. Meanwhile it stands in its fanout in place of
 * its client. Live messages that are in the history come from there; other events are kept back until the messages before them
 * were sent.
 */
export class CatchUp implements Subscriber {
  readonly member: ReplayMember;
  /** Set when it is added to one. */
  queue: ReplayQueue | null = null;
  readonly #hub: Hub;
  readonly #context: ReplayContext;
  /** Messages to send before those of the history, from `#at` on. */
  #first: readonly KeptMessage[];
  #at = 0;
  /** Once `#first` is sent: the number of the newest message that was sent. */
  #cursor: number;
  /** The newest message when it joined: the hub has counted the deliveries of later ones. */
  readonly #joinedAt: number;
  /** Until when it waits for the presence state (`performance.now()`); 0: it does not. */
  #stateUntil: number;
  /** Whether it waited for the state when it could have been sent messages. */
  #delayed = false;
  #held: HeldFrame[] = [];
  #heldSize = 0;
  /** The number of the last message that was sent, if as a binary frame whose position was not sent. */
  #unreported = 0;

  /** @param awaitsState whether it gets a presence state, which precedes all messages */
  constructor(
    member: ReplayMember,
    recovery: Recovery,
    hub: Hub,
    context: ReplayContext,
    awaitsState: boolean,
  ) {
    this.member = member;
    this.#hub = hub;
    this.#context = context;
    this.#first = recovery.first;
    this.#cursor = recovery.cursor;
    this.#joinedAt = hub.positions.seq;
    this.#stateUntil = awaitsState ? performance.now() + STATE_TIMEOUT : 0;
  }

  subscribe(): boolean {
    return false;
  }

  unsubscribe(): void {}

  /** A live frame of its fanout. */
  send(frame: string | Buffer): void {
    if (this.member.fanout.encoder.liveOnly) return;
    this.#held.push({ seq: this.#hub.positions.seq, frame });
    this.#heldSize += frame.length;
    while (this.#held.length > MAX_HELD || this.#heldSize > MAX_HELD_SIZE) this.#sendOldestHeld();
  }

  /** The presence state was sent. */
  stateSent(): void {
    this.#stateUntil = 0;
    if (this.#delayed && this.queue !== null) this.#context.soon(this.queue);
  }

  isReady(now: number): boolean {
    this.#delayed = this.#stateUntil > now;
    return !this.#delayed;
  }

  /** Whether nothing is left to be sent. */
  get isDone(): boolean {
    const { history, positions } = this.#hub;
    const { channel } = this.member;
    if (this.#at < this.#first.length || history === null || channel.history === null) return false;
    if (positions.isBeforeGap(this.#cursor)) return false;
    return history.since(channel.name, channel.history, this.#cursor, 1).length === 0;
  }

  /** Sends what the budget allows. Returns whether it has caught up: nothing is missing before the next live message. */
  advance(budget: ReplayBudget): boolean {
    const done = this.#sendFirst(budget) && this.#sendHistory(budget);
    if (done) this.#sendHeld(Number.POSITIVE_INFINITY);
    this.#report();
    return done;
  }

  #sendFirst(budget: ReplayBudget): boolean {
    for (let message = this.#first[this.#at]; message !== undefined; message = this.#first[this.#at]) {
      if (!this.#send(message, budget)) return false;
      this.#at++;
    }
    this.#first = [];
    this.#at = 0;
    return true;
  }

  #sendHistory(budget: ReplayBudget): boolean {
    const { channel, fanout } = this.member;
    const { history, positions } = this.#hub;
    if (!fanout.encoder.format.positions || history === null || channel.history === null) return true;
    // What is left from before a gap cannot be continued from.
    if (positions.isBeforeGap(this.#cursor)) this.#gap("gap", positions.gapAt);
    for (;;) {
      const batch = history.since(channel.name, channel.history, this.#cursor, BATCH);
      if (typeof batch === "string") {
        // A client that has stopped reading is not sent live messages on top: it would be cut off.
        if (!budget.idle) return false;
        this.#gap(batch, positions.seq);
        return true;
      }
      for (const message of batch) {
        this.#sendHeld(message.seq);
        if (!this.#send(message, budget)) return false;
        this.#cursor = message.seq;
      }
      if (batch.length < BATCH) return true;
    }
  }

  /** Messages up to number `seq` are missing. Without a marker its fanout sends the event when there is one. */
  #gap(reason: Lost, seq: number): void {
    const { positions } = this.#hub;
    this.#cursor = seq;
    const position = positions.current === null ? null : positions.at(seq);
    if (position === null) return;
    const { connection, fanout, joinRef } = this.member;
    this.#unreported = 0;
    if (reason !== "gap") this.member.overtaken(reason);
    connection.send(fanout.encoder.gapFrame(joinRef, position, reason));
  }

  #send(message: KeptMessage, budget: ReplayBudget): boolean {
    const { connection, joinRef, fanout } = this.member;
    const frame = this.#context.frames.frameOf(fanout.encoder, message, joinRef);
    if (!budget.allows(frame.length)) return false;
    budget.spend(frame.length);
    connection.send(frame);
    this.#unreported = typeof frame === "string" ? 0 : message.seq;
    if (message.seq <= this.#joinedAt) this.#count(message);
    return true;
  }

  #count({ payload }: KeptMessage): void {
    this.#hub.stats.deliveries++;
    this.#hub.stats.deliveredBytes += payload.length;
  }

  /** Sends the events that were held back before the message of this number. */
  #sendHeld(seq: number): void {
    while ((this.#held[0]?.seq ?? Number.POSITIVE_INFINITY) < seq) this.#sendOldestHeld();
  }

  #sendOldestHeld(): void {
    const oldest = this.#held.shift();
    if (oldest === undefined) return;
    this.#heldSize -= oldest.frame.length;
    this.member.connection.send(oldest.frame);
  }

  /** Sends the position of a binary frame, which has no place for it. */
  #report(): void {
    if (this.#unreported === 0) return;
    const { connection, fanout, joinRef } = this.member;
    const position = fanout.encoder.format.positions ? this.#hub.positions.at(this.#unreported) : null;
    this.#unreported = 0;
    if (position !== null) connection.send(fanout.encoder.positionFrame(joinRef, position));
  }
}

import type { Channel, Member } from "../channel.ts";
import { jsonMessage, type Message } from "../message.ts";
import type { Meta } from "./presence-store.ts";
import { PresenceWindows } from "./presence-windows.ts";

/** Up to this number of users each joiner gets the state at once: it is cheap, and a page should not wait for it. */
const SMALL_STATE = 50;

/** Characters of states that are sent in one turn of the event loop: some 10 ms. The rest follows in the next ones. */
const TURN_SIZE = 8 * 1024 * 1024;

/** Sustained rate of diffs, in members per ms: each costs one write. */
const DIFFS_PER_MS = 10;

export interface PresenceEventsOptions {
  /** ms for which the changes of a channel are collected, longer under load (`PresenceWindows`). */
  readonly window: number;
  /** Sends a diff to the members of a channel. */
  deliver(channel: Channel, message: Message): void;
  /** Sends a diff to backends. */
  readonly export: ((channel: string, diff: string) => void) | null;
}

/**
 * Sends `presence_state` to members that join, and `presence_diff` to all members and to backends. A member gets the state
 * before any diff, and both before the next message of the channel. Where so many join a large channel that their states take
 * several turns of the event loop, those that still wait are left out of diffs: their state has it all.
 */
export class PresenceEvents {
  readonly #options: PresenceEventsOptions;
  readonly #states: PresenceWindows;
  readonly #diffs: PresenceWindows;
  /** Channels whose states are sent in several turns. */
  readonly #unfinished = new Set<Channel>();
  #turn: NodeJS.Immediate | null = null;
  #draining = false;

  constructor(options: PresenceEventsOptions) {
    this.#options = options;
    this.#states = new PresenceWindows(options.window, Number.MAX_SAFE_INTEGER, (channel) =>
      this.#sendStates(channel),
    );
    this.#diffs = new PresenceWindows(options.window, DIFFS_PER_MS, (channel) => this.#sendDiff(channel));
  }

  /** A member joined. It gets the state now, or together with those that join in the same window. */
  joined(member: Member): void {
    const { channel } = member;
    if (channel.presence === null) return;
    channel.presence.put(member.meta);
    if (member.seesPresence) this.#requestState(member);
    this.#diffs.open(channel);
  }

  left(member: Member): void {
    const { channel } = member;
    if (channel.presence === null) return;
    channel.presence.remove(member.meta);
    cancelState(member);
    this.#diffs.open(channel);
  }

  /** Replaces what presence shows of a member. */
  replaced(member: Member, meta: Meta): void {
    const { channel, meta: old } = member;
    member.meta = meta;
    if (channel.presence === null) return;
    channel.presence.replace(old, meta);
    this.#diffs.open(channel);
  }

  /** `member.seesPresence` changed: if it is set now, the member gets the state. */
  visibilityChanged(member: Member): void {
    if (member.channel.presence === null) return;
    if (member.seesPresence) this.#requestState(member);
    else cancelState(member);
  }

  /** Members on other servers became known, or changed. */
  changedElsewhere(channel: Channel): void {
    if (channel.presence !== null) this.#diffs.open(channel);
  }

  /** Sends all that waits in a channel now. */
  flush(channel: Channel): void {
    sendStates(channel);
    this.#diffs.close(channel);
  }

  /** From now on diffs are sent to backends only. */
  drain(): void {
    this.#draining = true;
  }

  /** Sends everything that waits. */
  stop(): void {
    this.#diffs.stop();
    this.#states.stop();
    for (const channel of this.#unfinished) sendStates(channel);
    this.#unfinished.clear();
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#turn = null;
  }

  #requestState(member: Member): void {
    const { channel } = member;
    channel.awaitingState.push(member);
    if (this.#unfinished.has(channel)) return;
    const users = channel.presence?.users ?? 0;
    if (users > SMALL_STATE && this.#diffs.isOpen(channel)) this.#states.open(channel);
    else sendStates(channel);
  }

  #sendDiff(channel: Channel): void {
    const { presence } = channel;
    if (presence === null) return;
    // When the members are loaded the store reports a change, which opens the window again.
    if (!presence.loaded && channel.members.size > 0) return;
    if (!this.#unfinished.has(channel)) {
      this.#states.close(channel);
      // Closing may have left some for the next turns.
      if (!this.#unfinished.has(channel)) sendStates(channel);
    }
    const diff = presence.takeDiff();
    if (diff === null) return;
    const message = jsonMessage("presence_diff", diff.members, true);
    if (!this.#draining) this.#deliverDiff(channel, message);
    if (diff.backends !== null) this.#options.export?.(channel.name, diff.backends);
  }

  #deliverDiff(channel: Channel, message: Message): void {
    const waiting = channel.awaitingState;
    for (const member of waiting) member.pause();
    this.#options.deliver(channel, message);
    for (const member of waiting) member.resume();
  }

  /** Sends the states of a channel, as far as one turn allows; all at once where messages are left out for slow clients. */
  #sendStates(channel: Channel): void {
    if (channel.conflates) {
      sendStates(channel);
      return;
    }
    this.#unfinished.add(channel);
    if (this.#turn === null) this.#sendUnfinished();
  }

  #sendUnfinished(): void {
    let left = TURN_SIZE;
    for (const channel of [...this.#unfinished]) {
      if (left <= 0) break;
      left -= sendStates(channel, left);
      // The others are first in the next turn.
      this.#unfinished.delete(channel);
      if (channel.awaitingState.length > 0 && channel.presence?.loaded === true)
        this.#unfinished.add(channel);
    }
    if (this.#unfinished.size === 0) return;
    this.#turn = setImmediate(() => {
      this.#turn = null;
      this.#sendUnfinished();
    });
  }
}

/**
 * Sends the state to the members that wait for it, once the members on other servers are known.
 * @param size characters after which the rest waits on
 * @returns the characters sent
 */
function sendStates(channel: Channel, size = Number.POSITIVE_INFINITY): number {
  const { presence, awaitingState } = channel;
  if (presence === null || !presence.loaded || awaitingState.length === 0) return 0;
  const state = presence.state();
  const count = Math.min(Math.ceil(size / state.length), awaitingState.length);
  channel.awaitingState = awaitingState.slice(count);
  for (const member of awaitingState.slice(0, count)) member.send("presence_state", state);
  return count * state.length;
}

function cancelState(member: Member): void {
  const { channel } = member;
  if (channel.awaitingState.length === 0) return;
  channel.awaitingState = channel.awaitingState.filter((each) => each !== member);
}

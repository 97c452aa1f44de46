import type { RevocationKind } from "../../auth/revocations.ts";
import type { Claims } from "../../auth/verifier.ts";
import type { Listening } from "../../hub/addressed.ts";
import { awaitPosition } from "../../hub/history/await-position.ts";
import type { Lost } from "../../hub/history/history.ts";
import type { Hub } from "../../hub/hub.ts";
import { count } from "../../hub/stats.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import type { Session } from "../../transports/session.ts";
import type { SseClient } from "../../transports/sse.ts";
import { isNumbered, type Listener, type SseChannel } from "./sse-channel.ts";
import { notice, RETRY, retryLine } from "./sse-format.ts";
import { type ReplayPart, SseReplay } from "./sse-replay.ts";

/** Shared by the sessions of this protocol. */
export interface SseContext {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  /** Sessions that are sent what they missed. `advance` is called several times a second. */
  readonly replaying: Set<SseSession>;
  /** The listeners of a channel, opened if it was not. */
  open(channel: string): SseChannel;
  /** Closes a channel without listeners. */
  close(channel: SseChannel): void;
}

/** What a client asks for, authorized. */
export interface Subscription {
  readonly channels: readonly string[];
  /** Where to resume; `null` for a client that has nothing to resume. */
  readonly lastEventId: string | null;
  /** Of its token; `null` without one. */
  readonly claims: Claims | null;
}

/** `waiting`: for older messages to be sent; `bare`: live messages without positions. */
type State = "waiting" | "live" | "bare";

/** One response: a client that listens to channels. */
export class SseSession implements Session, Listener {
  readonly client: SseClient;
  readonly #context: SseContext;
  readonly #asked: Subscription;
  readonly #channels = new Map<SseChannel, State>();
  #expirySlot = 0;
  #replay: SseReplay | null = null;
  /** The position from which the client can resume when it has read all that it was sent; set when it is closed. */
  #lastId: string | null = null;

  constructor(context: SseContext, client: SseClient, asked: Subscription) {
    this.#context = context;
    this.client = client;
    this.#asked = asked;
  }

  get protocol(): string {
    return "sse";
  }

  get users(): readonly string[] {
    const { claims } = this.#asked;
    return claims === null ? [] : [claims.user];
  }

  get channels(): readonly string[] {
    return Array.from(this.#channels.keys(), ({ name }) => name);
  }

  listening(name: string): Listening | null {
    for (const [channel, state] of this.#channels) {
      if (channel.name === name)
        return channel.listening(this, state === "waiting" ? null : state === "live");
    }
    return null;
  }

  opened(): void {
    const { claims, channels, lastEventId } = this.#asked;
    if (claims !== null) this.#expirySlot = this.#context.context.expireAt(this, claims.expiresAt);
    this.client.send(retryLine(RETRY));
    for (const name of channels) {
      const channel = this.#context.open(name);
      channel.sessions.add(this);
      this.#channels.set(channel, "waiting");
    }
    if (lastEventId === null) this.#begin();
    else this.client.after(this.#known(lastEventId), () => this.#resume(lastEventId));
  }

  /** A client sends nothing after its request. */
  receive(): void {}

  /** Its token expired. */
  expire(): void {
    this.client.finish(1001, "token expired");
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    return kind === "token" && this.#asked.claims?.jti === id;
  }

  /** Ends the subscription to one channel. The client is notified, and stays connected: else it would come back by itself. */
  kick(channel: SseChannel): void {
    this.#leave(channel);
    this.client.send(notice("closed", { channel: channel.name, reason: "ended by an administrator" }));
  }

  closed(): void {
    this.#context.context.forgetExpiry(this, this.#expirySlot);
    this.#lastId ??= this.#position();
    this.#context.replaying.delete(this);
    for (const channel of this.#channels.keys()) this.#leave(channel);
  }

  /** The last block of a client that is closed, with the newest position: the next server may know only newer ones. */
  lastFrame(reason: string): string {
    return notice("closed", { reason }, this.#lastId);
  }

  /** Sends more of what the client missed, if it may be sent now. */
  advance(now: number): void {
    if (this.#replay?.advance(now) !== true) return;
    this.#replay = null;
    this.#context.replaying.delete(this);
    for (const [channel, state] of this.#channels) if (state === "waiting") this.#goLive(channel);
  }

  /** A position that all messages sent so far precede; `null` if there is none. */
  #position(): string | null {
    const states = [...this.#channels.values()];
    if (!states.includes("live") || states.includes("waiting") || this.#isLagging()) return null;
    return [...this.#channels.keys()].some((channel) => this.#resumable(channel))
      ? this.#context.hub.positions.current
      : null;
  }

  /** Whether messages wait, or were left out, because the client does not keep up in a channel with `slow = "latest"`. */
  #isLagging(): boolean {
    const conflates = [...this.#channels.keys()].some(({ channel }) => channel.conflates);
    return conflates && this.client.conflated?.lagging === true;
  }

  /**
   * Whether a client can resume a channel. Where `slow = "latest"` delays messages of one channel behind those of others, their
   * positions are in no order.
   */
  #resumable({ channel }: SseChannel): boolean {
    return isNumbered(channel) && (this.#asked.channels.length === 1 || !channel.conflates);
  }

  /** Resolves when all that can be known of a position is known; `null` if it is. */
  #known(id: string): Promise<void> | null {
    const loading = this.#loading(id);
    return loading.length === 0 && this.#context.hub.positions.resolve(id) !== "ahead"
      ? null
      : this.#waitFor(id, loading);
  }

  async #waitFor(id: string, loading: readonly Promise<void>[]): Promise<void> {
    const { positions } = this.#context.hub;
    await Promise.all(loading);
    const seq = await awaitPosition(positions, id);
    // A server that has just started had no marker before: only now it can look for older ones in a store.
    if (typeof seq === "string") await Promise.all(this.#loading(id));
  }

  /** What is being read from a store. */
  #loading(id: string): readonly Promise<void>[] {
    const { history } = this.#context.hub;
    const loading: Promise<void>[] = [];
    for (const { channel } of this.#channels.keys()) {
      const work = channel.history && history?.prepare?.(channel.name, channel.history, id);
      if (work) loading.push(work);
    }
    return loading;
  }

  /** A client with nothing to resume. What it is sent before `ready` has no position: a client without `ready` begins anew. */
  #begin(): void {
    const { positions } = this.#context.hub;
    const channels = [...this.#channels.keys()];
    for (const channel of channels) this.#sendLastValues(channel);
    this.#ready(channels.some((channel) => this.#resumable(channel)) ? positions.current : null);
    for (const channel of channels) this.#goLive(channel);
  }

  #resume(id: string): void {
    const { hub, replaying } = this.#context;
    const { positions } = hub;
    this.#ready(null);
    const parts: ReplayPart[] = [];
    const lost = new Map<SseChannel, Lost>();
    for (const channel of this.#channels.keys()) {
      const from = this.#resumeFrom(channel, id);
      this.#count(channel, typeof from === "string" ? from : null);
      if (typeof from === "string") lost.set(channel, from);
      else parts.push({ channel, from });
    }
    // Where nothing is resumed, the client need not ask for the same position again.
    const next = parts.length === 0 ? positions.current : null;
    for (const [channel, reason] of lost) {
      this.client.send(notice("gap", { channel: channel.name, reason }, next));
      this.#sendLastValues(channel);
      if (this.#resumable(channel)) parts.push({ channel, from: positions.seq });
      else this.#goLive(channel);
    }
    if (parts.length > 0) this.#replay = new SseReplay(this.client, hub, parts);
    replaying.add(this);
    this.advance(performance.now());
  }

  /** The number of a position after which all messages of a channel are kept, or why there is none. */
  #resumeFrom(sse: SseChannel, id: string): number | Lost {
    const { channel } = sse;
    const { history, positions } = this.#context.hub;
    if (history === null || channel.history === null || !this.#resumable(sse)) return "history off";
    const seq = positions.resolve(id);
    // It was waited for.
    if (seq === "ahead") return positions.current === null ? "gap" : "unknown position";
    if (typeof seq === "string") return seq;
    const missed = history.since(channel.name, channel.history, seq, 1);
    return typeof missed === "string" ? missed : seq;
  }

  #count({ channel }: SseChannel, reason: Lost | null): void {
    const result = (reason ?? "recovered").replaceAll(" ", "_");
    count(this.#context.context.stats.recoveries, result);
    channel.recoveries ??= {};
    count(channel.recoveries, result);
  }

  #ready(id: string | null): void {
    this.client.send(notice("ready", { id: this.client.id, channels: this.#asked.channels }, id));
  }

  /** They are older than the position of `ready`, and have none themselves. */
  #sendLastValues(channel: SseChannel): void {
    if (!channel.channel.history?.lastValue) return;
    for (const value of this.#context.hub.history?.lastValues(channel.name) ?? []) {
      this.client.send(channel.blockOf(value, false));
    }
  }

  #goLive(channel: SseChannel): void {
    if (this.#channels.get(channel) !== "waiting") return;
    const numbered = !isNumbered(channel.channel) || this.#resumable(channel);
    this.#channels.set(channel, numbered ? "live" : "bare");
    channel.join(this, numbered);
  }

  #leave(channel: SseChannel): void {
    const state = this.#channels.get(channel);
    if (state === undefined) return;
    this.#channels.delete(channel);
    this.#replay?.remove(channel);
    if (state !== "waiting") channel.leave(this, state === "live");
    channel.sessions.delete(this);
    if (channel.sessions.size === 0) this.#context.close(channel);
  }
}

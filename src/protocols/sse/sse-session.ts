import type { RevocationKind } from "../../auth/revocations.ts";
import type { Claims } from "../../auth/verifier.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import type { Session } from "../../transports/session.ts";
import type { SseClient } from "../../transports/sse.ts";
import type { Listener, SseChannel } from "./sse-channel.ts";
import { notice, RETRY, retryLine } from "./sse-format.ts";

/** Shared by the sessions of this protocol. */
export interface SseContext {
  readonly context: ConnectionContext;
  /** The listeners of a channel, opened if it was not. */
  open(channel: string): SseChannel;
  /** Closes a channel without listeners. */
  close(channel: SseChannel): void;
}

/** One response: a client that listens to channels. */
export class SseSession implements Session, Listener {
  readonly client: SseClient;
  readonly #context: SseContext;
  readonly #names: readonly string[];
  readonly #claims: Claims | null;
  /** The channels listened to, each with whether live messages are sent. */
  readonly #channels = new Map<SseChannel, boolean>();
  #expirySlot = 0;

  /**
   * @param names the channels, authorized
   * @param claims of its token; `null` without one
   */
  constructor(context: SseContext, client: SseClient, names: readonly string[], claims: Claims | null) {
    this.#context = context;
    this.client = client;
    this.#names = names;
    this.#claims = claims;
  }

  get protocol(): string {
    return "sse";
  }

  get users(): readonly string[] {
    return this.#claims === null ? [] : [this.#claims.user];
  }

  get channels(): readonly string[] {
    return Array.from(this.#channels.keys(), ({ channel }) => channel.name);
  }

  opened(): void {
    if (this.#claims !== null) {
      this.#expirySlot = this.#context.context.expireAt(this, this.#claims.expiresAt);
    }
    const ready = { id: this.client.id, channels: this.#names };
    this.client.send(retryLine(RETRY) + notice("ready", ready));
    for (const name of this.#names) {
      const channel = this.#context.open(name);
      channel.sessions.add(this);
      this.#channels.set(channel, true);
      channel.join(this);
    }
  }

  /** A client sends nothing after its request. */
  receive(): void {}

  /** Its token expired. */
  expire(): void {
    this.client.finish(1001, "token expired");
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    return kind === "token" && this.#claims?.jti === id;
  }

  /** Ends the subscription to one channel. The client is notified, and stays connected: else it would come back by itself. */
  kick(channel: SseChannel): void {
    this.#leave(channel);
    this.client.send(
      notice("closed", { channel: channel.channel.name, reason: "ended by an administrator" }),
    );
  }

  closed(): void {
    this.#context.context.forgetExpiry(this, this.#expirySlot);
    for (const channel of this.#channels.keys()) this.#leave(channel);
  }

  #leave(channel: SseChannel): void {
    const live = this.#channels.get(channel);
    if (live === undefined) return;
    this.#channels.delete(channel);
    channel.leave(this, live);
    channel.sessions.delete(this);
    if (channel.sessions.size === 0) this.#context.close(channel);
  }
}

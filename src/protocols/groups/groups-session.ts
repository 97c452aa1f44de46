import { abilitiesIn, uncoveredCode } from "../../auth/claims.ts";
import type { RevocationKind } from "../../auth/revocations.ts";
import type { JoinCode } from "../../auth/token-codes.ts";
import type { Claims, Verify } from "../../auth/verifier.ts";
import type { Listening } from "../../hub/addressed.ts";
import { countRefusal } from "../../hub/stats.ts";
import type { Fields } from "../../log.ts";
import type { Client } from "../../transports/client.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import type { Session } from "../../transports/session.ts";
import type { EventFanouts } from "./event-fanouts.ts";
import {
  accepted,
  type Changed,
  CLOSED,
  changed,
  DENIED,
  dashed,
  decode,
  denied,
  refused,
  type Subscription,
  type Subscriptions,
} from "./groups-codec.ts";

/** Closed with this code when the token is missing or bad: 4000 to 4999 are an application's own (RFC 6455, 7.4.2). */
const UNAUTHORIZED = 4401;

/** Shared by the sessions of this protocol. */
export interface GroupsContext {
  readonly context: ConnectionContext;
  readonly verify: Verify;
  /** Subscriptions that one client may have. */
  readonly maxSubscriptions: number;
  /** The subscribers of a group, opened if it was not. */
  open(group: string): EventFanouts;
  /** The newest message of an event as its subscribers get it; `null` if none is kept, or it is binary. */
  lastValue(group: string, event: string): string | null;
  /** Closes a group without subscribers. */
  close(fanouts: EventFanouts): void;
}

/** A client's token, and what its messages must prove because of how it was sent. */
export interface Credentials {
  readonly token: string | null;
  /**
   * Present when the token came by cookie from a page of another host: each message must contain the value of the
   * `csrftoken` cookie; without such a cookie (`null`) none is accepted.
   */
  readonly csrf?: string | null;
}

/** Entries joined, left or refused that count as one frame. */
const ENTRIES_PER_FRAME = 10;

/** The error for binary frames. */
const NO_TEXT = { error: "not JSON" } as const;

/** A client that subscribes to events of groups. */
export class GroupsSession implements Session {
  readonly #client: Client;
  readonly #context: GroupsContext;
  readonly #credentials: Credentials;
  #followed: Subscriptions = new Map();
  #claims: Claims | null = null;
  /** Whether its user was sent to the client. */
  #accepted = false;
  #expirySlot = 0;

  constructor(context: GroupsContext, client: Client, credentials: Credentials) {
    this.#context = context;
    this.#client = client;
    this.#credentials = credentials;
  }

  get protocol(): string {
    return "groups";
  }

  get users(): readonly string[] {
    return this.#claims === null ? [] : [this.#claims.user];
  }

  get channels(): readonly string[] {
    return [...this.#followed.keys()];
  }

  listening(group: string): Listening | null {
    const entries = this.#followed.get(group);
    if (entries === undefined) return null;
    const fanouts = this.#context.open(group);
    return {
      pause: (event) => entries.has(event) && fanouts.pause(this.#client, event),
      resume: (event) => entries.has(event) && fanouts.resume(this.#client, event),
      deliver: (message) => entries.has(message.event) && fanouts.deliverTo(this.#client, message),
    };
  }

  opened(): void {
    const { token } = this.#credentials;
    if (token === null) return this.#reject("no token", "token_missing");
    this.#client.after(this.#context.verify(token, this.#client), (verdict) => {
      if (!verdict.ok) return this.#reject(verdict.reason, verdict.code);
      this.#claims = verdict.claims;
      this.#expirySlot = this.#context.context.expireAt(this, verdict.claims.expiresAt);
      // The user is not sent to a page that has not sent its xrftoken yet.
      if (this.#credentials.csrf === undefined) this.#accept(verdict.claims);
      else this.#client.send(accepted());
    });
  }

  receive(frame: string | Buffer, allowed: boolean): void {
    if (this.#claims === null) return;
    if (!allowed) return this.#refuse("rate limited", "rate limited");
    const message = typeof frame === "string" ? decode(frame, this.#context.maxSubscriptions) : NO_TEXT;
    if ("error" in message) return this.#refuse(message.error, "invalid groups message");
    const { csrf } = this.#credentials;
    if (csrf !== undefined && (csrf === null || message.xrftoken !== csrf)) {
      return this.#refuse(DENIED, "no xrftoken");
    }
    if (!this.#accepted) this.#accept(this.#claims);
    for (const { group, entry } of message.impossible) {
      this.#logRefusal("invalid group", "invalid_topic", { channel: group });
      this.#deny(group, entry);
    }
    const refusals = message.impossible.length + this.#denyUncovered(this.#claims, message.wanted);
    // The client may just have been cut off: its subscriptions would never be removed.
    if (!this.#client.open) return;
    const changes = this.#follow(message.wanted);
    const cost = (refusals + changes.joined.length + changes.left.length) / ENTRIES_PER_FRAME;
    this.#client.chargeFrames(Math.floor(cost));
    this.#client.send(changed(changes));
    for (const { group, entry } of changes.added) this.#sendLastValue(group, entry);
  }

  #sendLastValue(group: string, entry: string): void {
    const value = this.#context.lastValue(group, entry);
    if (value !== null) this.#client.send(value);
  }

  #accept(claims: Claims): void {
    this.#accepted = true;
    this.#client.send(accepted(claims.user));
  }

  /** Its token expired. */
  expire(): void {
    this.#client.finish(1001, "token expired");
  }

  reliesOn(kind: RevocationKind, id: string): boolean {
    return kind === "token" && this.#claims?.jti === id;
  }

  closed(): void {
    this.#context.context.forgetExpiry(this, this.#expirySlot);
    this.#follow(new Map());
  }

  #reject(reason: string, code: JoinCode): void {
    countRefusal(this.#context.context.stats, reason);
    this.#logRefusal(reason, code, {});
    this.#client.send(CLOSED);
    this.#client.dismiss(UNAUTHORIZED, "unauthorized");
  }

  #logRefusal(reason: string, code: JoinCode, fields: Fields): void {
    const { id, address } = this.#client;
    this.#context.context.refusals.join(reason, code, {
      ...fields,
      protocol: "groups",
      connection: id,
      address,
    });
  }

  /** Refuses a whole message. `reason`: the label of its counter. */
  #refuse(error: string, reason: string): void {
    countRefusal(this.#context.context.stats, reason);
    this.#client.send(refused(error));
  }

  #deny(group: string, entry: string): void {
    countRefusal(this.#context.context.stats, "unauthorized");
    this.#client.send(denied(group, entry));
  }

  /** Removes from `wanted` what the token does not cover, and replies so. Returns the number of entries removed. */
  #denyUncovered(claims: Claims, wanted: Subscriptions): number {
    let count = 0;
    for (const [group, entries] of wanted) {
      const can = abilitiesIn(claims, group);
      if (can?.join) continue;
      wanted.delete(group);
      const about = { channel: group, user: claims.user };
      if (can === null) this.#logRefusal("unauthorized", uncoveredCode(claims, group), about);
      else this.#logRefusal("forbidden", "join_not_allowed", about);
      for (const entry of entries) this.#deny(group, entry);
      count += entries.size;
    }
    return count;
  }

  /** Subscribes to exactly `wanted`, and unsubscribes from all else. */
  #follow(wanted: Subscriptions): Changed & { readonly added: readonly Subscription[] } {
    const before = this.#followed;
    this.#followed = wanted;
    const current: string[] = [];
    const left: string[] = [];
    const joined: string[] = [];
    const added: Subscription[] = [];
    for (const [group, entries] of wanted) {
      const old = before.get(group);
      const fanouts = this.#context.open(group);
      for (const entry of entries) {
        const name = dashed(group, entry);
        current.push(name);
        if (old?.has(entry)) continue;
        fanouts.add(this.#client, entry);
        joined.push(name);
        added.push({ group, entry });
      }
    }
    for (const [group, entries] of before) {
      const kept = wanted.get(group);
      const fanouts = this.#context.open(group);
      for (const entry of entries) {
        if (kept?.has(entry)) continue;
        fanouts.remove(this.#client, entry);
        left.push(dashed(group, entry));
      }
      if (fanouts.empty) this.#context.close(fanouts);
    }
    return { current, left, joined, added };
  }
}

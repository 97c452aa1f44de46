import { type Claims, covers, type Verify } from "../../auth/token.ts";
import type { Channel } from "../../hub/channel.ts";
import { countRefusal, type Hub } from "../../hub/hub.ts";
import type { Client, House, Session } from "../client.ts";
import {
  accepted,
  CLOSED,
  changed,
  DENIED,
  decode,
  denied,
  keyOf,
  refused,
  type Subscription,
} from "./codec.ts";
import type { GroupOutlet } from "./outlet.ts";

/** Closed with this code when the token is missing or bad: 4000 to 4999 are an application's own (RFC 6455, 7.4.2). */
const UNAUTHORIZED = 4401;

/** What the sessions of this protocol share. */
export interface GroupsContext {
  readonly hub: Hub;
  readonly house: House;
  readonly verify: Verify;
  /** Subscriptions that one client may have. */
  readonly maxSubscriptions: number;
  outlet(channel: Channel): GroupOutlet;
}

/** How a client came by its token, and what that asks of its messages. */
export interface Credentials {
  readonly token: string | null;
  /**
   * Present when the token came by cookie from a page that is not of this host: each message must repeat the value of
   * the `csrftoken` cookie, and none can where there is no such cookie (`null`).
   */
  readonly csrf?: string | null;
}

interface Followed {
  readonly subscription: Subscription;
  readonly outlet: GroupOutlet;
}

/** A client that follows events of groups. */
export class GroupsSession implements Session {
  readonly #client: Client;
  readonly #context: GroupsContext;
  readonly #credentials: Credentials;
  readonly #followed = new Map<string, Followed>();
  #claims: Claims | null = null;
  #expirySlot = 0;

  constructor(context: GroupsContext, client: Client, credentials: Credentials) {
    this.#context = context;
    this.#client = client;
    this.#credentials = credentials;
  }

  get protocol(): string {
    return "groups";
  }

  begin(): void {
    const { token } = this.#credentials;
    if (token === null) return this.#turnAway("no token");
    this.#client.after(this.#context.verify(token), (verdict) => {
      if (!verdict.ok) return this.#turnAway(verdict.reason);
      this.#claims = verdict.claims;
      this.#expirySlot = this.#context.house.expireAt(this, verdict.claims.expiresAt);
      this.#client.send(accepted(verdict.claims.user));
    });
  }

  receive(frame: string | Buffer, allowed: boolean): void {
    if (this.#claims === null) return;
    if (!allowed) return this.#refuse("rate limited");
    if (typeof frame !== "string") return this.#refuse("not JSON");
    const message = decode(frame, this.#context.maxSubscriptions);
    if ("error" in message) return this.#refuse(message.error);
    const { csrf } = this.#credentials;
    if (csrf !== undefined && (csrf === null || message.xrftoken !== csrf)) return this.#refuse(DENIED);
    for (const subscription of message.impossible) this.#deny(subscription);
    this.#replace(this.#claims, message.wanted);
  }

  /** Its token ran out. */
  expire(): void {
    this.#client.dismiss(1001, "token expired");
  }

  leave(): void {
    this.#context.house.forgetExpiry(this, this.#expirySlot);
    for (const key of [...this.#followed.keys()]) this.#unfollow(key);
  }

  #turnAway(reason: string): void {
    countRefusal(this.#context.house.stats, reason);
    this.#client.send(CLOSED);
    this.#client.dismiss(UNAUTHORIZED, "unauthorized");
  }

  #refuse(error: string): void {
    countRefusal(this.#context.house.stats, "invalid groups message");
    this.#client.send(refused(error));
  }

  #deny(subscription: Subscription): void {
    countRefusal(this.#context.house.stats, "unauthorized");
    this.#client.send(denied(subscription));
  }

  /** Makes `wanted` the whole set, but for those that the token does not cover; the rest is left. */
  #replace(claims: Claims, wanted: readonly Subscription[]): void {
    const current = new Map<string, Subscription>();
    const joined: Subscription[] = [];
    for (const subscription of wanted) {
      if (!claims.can.join || !covers(claims, subscription.group)) {
        this.#deny(subscription);
        continue;
      }
      const key = keyOf(subscription);
      current.set(key, subscription);
      if (this.#followed.has(key)) continue;
      this.#follow(key, subscription);
      joined.push(subscription);
    }
    const left: Subscription[] = [];
    for (const [key, { subscription }] of this.#followed) {
      if (current.has(key)) continue;
      this.#unfollow(key);
      left.push(subscription);
    }
    this.#client.idleSince = this.#followed.size === 0 ? performance.now() : null;
    this.#client.send(changed({ current: [...current.values()], left, joined }));
  }

  #follow(key: string, subscription: Subscription): void {
    const outlet = this.#context.outlet(this.#context.hub.open(subscription.group));
    outlet.add(this.#client, subscription.entry);
    this.#followed.set(key, { subscription, outlet });
  }

  #unfollow(key: string): void {
    const followed = this.#followed.get(key);
    if (followed === undefined) return;
    const { subscription, outlet } = followed;
    this.#followed.delete(key);
    outlet.remove(this.#client, subscription.entry);
    if (!outlet.empty) return;
    outlet.channel.removeOutlet(outlet);
    this.#context.hub.release(outlet.channel);
  }
}

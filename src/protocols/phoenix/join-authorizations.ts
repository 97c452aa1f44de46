import { type Claims, unauthorized, type Verdict } from "../../auth/claims-types.ts";
import type { Permission } from "../../hooks/authorize-answer.ts";
import {
  type AuthorizeRule,
  type Authorizer,
  type Decision,
  type ForwardedHeaders,
  type JoinQuestion,
  MAX_WAIT,
} from "../../hooks/authorizer.ts";
import { randomId } from "../../hub/random-id.ts";
import type { Client } from "../../transports/client.ts";
import type { HeldTopics } from "./held-topics.ts";
import { type JoinRefusal, refusalOf, unavailable } from "./join-refusal.ts";
import type { Frame } from "./phoenix-codec.ts";

/** Requests of one client at once; its other joins wait for them. */
const MAX_AT_ONCE = 4;

/** Bytes of the payload of a join, without its token. */
const MAX_PARAMS = 64 * 1024;

/** Frames that a question costs once a client has asked `maxChannels` times: each is a request to the application. */
const REPEATED_ASK_FRAMES = 10;

/** The session whose joins are decided. */
export interface JoinHandler {
  readonly client: Client;
  /** Headers of the client's last request for the application. */
  readonly forwarded: ForwardedHeaders;
  /**
   * Admits or refuses a join.
   * @param ownToken whether it ends alone when it expires, not with the socket
   * @param info metadata for presence in place of that of the join; `null`: none
   */
  admitInOrder(frame: Frame, verdict: Verdict | JoinRefusal, ownToken: boolean, info?: string | null): void;
}

/** A join on which the application is to decide. */
export interface AskedJoin {
  readonly frame: Frame;
  readonly rule: AuthorizeRule;
  /** On the token that it had. */
  readonly verdict: Verdict;
  /** Its payload without the token: JSON text. */
  readonly params: string;
}

/** What the application allows a client in one channel. */
interface Grant {
  readonly claims: Claims;
  /** Metadata for presence, as in `Meta`; `null`: that of the join counts. */
  readonly info: string | null;
}

/** Lets the application decide on joins of one client, and keeps what it allowed. Refusals are not kept. */
export class JoinAuthorizations {
  readonly #handler: JoinHandler;
  readonly #authorizer: Authorizer;
  readonly #held: HeldTopics;
  readonly #maxChannels: number;
  readonly #ended = new AbortController();
  readonly #grants = new Map<string, Grant>();
  /** Joins that wait for one of the running requests, the first one longest. */
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #asked = 0;
  /** The user of this connection where nobody names one. */
  #anonymous: string | null = null;

  /** @param maxChannels joins that may wait, and channels whose grant is kept */
  constructor(handler: JoinHandler, authorizer: Authorizer, held: HeldTopics, maxChannels: number) {
    this.#handler = handler;
    this.#authorizer = authorizer;
    this.#held = held;
    this.#maxChannels = maxChannels;
  }

  /** Decides on a join, by an earlier answer or within 8 s. Meanwhile later frames of its topic are held back. */
  decide(join: AskedJoin): void {
    const { frame, params } = join;
    const grant = this.#granted(frame.topic);
    if (grant !== null) return this.#admit(frame, grant);
    const { client } = this.#handler;
    const refusal = this.#refusal(params);
    if (refusal !== null) return this.#handler.admitInOrder(frame, refusal, false);
    if (++this.#asked > this.#maxChannels) client.chargeFrames(REPEATED_ASK_FRAMES - 1);
    this.#held.suspend(frame);
    void this.#ask(join).then((decision) => this.#decided(join, decision));
  }

  /** The application is asked again for the next join. */
  forget(channel: string): void {
    this.#grants.delete(channel);
  }

  /** The client is gone. */
  end(): void {
    this.#ended.abort();
    this.#grants.clear();
  }

  /** Why the application is not asked, if it is not. */
  #refusal(params: string): JoinRefusal | null {
    if (this.#held.size >= this.#maxChannels)
      return { ok: false, reason: "too many channels joined", code: "too_many_joined" };
    if (params.length > MAX_PARAMS || Buffer.byteLength(params) > MAX_PARAMS)
      return { ok: false, reason: "payload too large", code: "params_too_large" };
    return this.#handler.client.context.inbound.full ? unavailable("max_inbound") : null;
  }

  async #ask({ frame, rule, verdict, params }: AskedJoin): Promise<Decision> {
    const question: JoinQuestion = {
      ...{ rule, channel: frame.topic, params, headers: this.#handler.forwarded },
      user: trusted(verdict)?.user ?? null,
      address: this.#handler.client.address,
      startBy: performance.now() + MAX_WAIT - rule.timeout,
      signal: this.#ended.signal,
    };
    if (this.#running >= MAX_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    const decision = await this.#authorizer.ask(question);
    const next = this.#waiting.shift();
    // The next one takes over the place.
    if (next === undefined) this.#running--;
    else next();
    return decision;
  }

  #decided(join: AskedJoin, decision: Decision): void {
    const { frame, verdict } = join;
    const { client } = this.#handler;
    // A frame of another topic is being verified.
    if (client.pending !== null) return void client.pending.then(() => this.#decided(join, decision));
    if (!client.open || !this.#held.decided(frame)) return;
    if (decision.kind !== "allowed")
      return this.#handler.admitInOrder(frame, refusalOf(decision, verdict), false);
    this.#admit(frame, this.#grant(frame.topic, decision.permission, verdict));
  }

  #admit(frame: Frame, { claims, info }: Grant): void {
    const rejection = this.#authorizer.rejectionOf(claims);
    const verdict: Verdict = rejection === null ? { ok: true, claims } : unauthorized(rejection);
    this.#handler.admitInOrder(frame, verdict, true, info);
  }

  /** What an earlier answer still allows. */
  #granted(channel: string): Grant | null {
    const grant = this.#grants.get(channel) ?? null;
    if (grant === null || grant.claims.expiresAt > Date.now()) return grant;
    this.#grants.delete(channel);
    return null;
  }

  /** What a permission means for this client, kept for its next join. */
  #grant(channel: string, { user, can, info, expiresIn }: Permission, verdict: Verdict): Grant {
    const expiresAt = Math.min(Date.now() + (expiresIn ?? Number.POSITIVE_INFINITY), Number.MAX_SAFE_INTEGER);
    const granted = { channels: [channel], can, admin: false };
    const named = user === null ? trusted(verdict) : null;
    if (named !== null) {
      // The token names the user: what is allowed ends with it, and is not kept.
      const { user: id, jti, expiresAt: until } = named;
      const claims = { ...granted, user: id, expiresAt: Math.min(expiresAt, until) };
      return { claims: jti === undefined ? claims : { ...claims, jti }, info };
    }
    const grant = { claims: { ...granted, user: user ?? this.#anonymousUser(), expiresAt }, info };
    if (can.join) this.#keep(channel, grant);
    return grant;
  }

  #anonymousUser(): string {
    this.#anonymous ??= randomId(this.#authorizer.idLength);
    return this.#anonymous;
  }

  #keep(channel: string, grant: Grant): void {
    this.#grants.delete(channel);
    const [oldest] = this.#grants.keys();
    if (oldest !== undefined && this.#grants.size >= this.#maxChannels) this.#grants.delete(oldest);
    this.#grants.set(channel, grant);
  }
}

/** The claims of a token whose user is who it says; `null` where anyone may have a token for any id. */
function trusted(verdict: Verdict): Claims | null {
  return verdict.ok && verdict.claims.ownChannel === true ? verdict.claims : null;
}

import { withoutSessions } from "../auth/admin.ts";
import { isUserChannel, nameCovers, userChannel } from "../auth/claims.ts";
import type { Claims } from "../auth/claims-types.ts";
import { isOpenChannel } from "../auth/public-channels.ts";
import type { Revocations } from "../auth/revocations.ts";
import { mayUseCookies } from "../auth/same-origin.ts";
import type { TokenCode } from "../auth/token-codes.ts";
import type { ChannelSettings, Config } from "../config/config.ts";
import { SERVER_CHANNELS } from "../hub/client-events.ts";
import { count, type Stats } from "../hub/stats.ts";
import { type AuthorizeAnswer, readAuthorizeAnswer } from "./authorize-answer.ts";
import { HookClient } from "./hook-client.ts";

/** How long a join may wait in all, in ms. phoenix.js waits 10 s. */
export const MAX_WAIT = 8_000;

/** Bytes of an answer. */
const MAX_ANSWER = 64 * 1024;

/** Headers of a client's request that the application may get, by their names in lower case. */
export type ForwardedHeaders = Readonly<Record<string, string>>;

/** Which application decides on a channel, and which headers it gets. */
export interface AuthorizeRule {
  readonly url: string;
  /** ms for one request. */
  readonly timeout: number;
  readonly headers: readonly string[];
}

/** A join on which the application is to decide. */
export interface JoinQuestion {
  readonly rule: AuthorizeRule;
  readonly channel: string;
  /** The user of a token that does not cover the channel. */
  readonly user: string | null;
  /** The payload of the join without its token: JSON text. */
  readonly params: string;
  readonly address: string;
  readonly headers: ForwardedHeaders;
  /** `performance.now()` until which the request may wait for its turn. */
  readonly startBy: number;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

/** Its client is gone. */
const CANCELLED: AuthorizeAnswer = { kind: "unavailable", cause: "cancelled" };

export type Decision = AuthorizeAnswer | { readonly kind: "not its own" };

export interface AuthorizerOptions {
  readonly config: Config;
  readonly hookSecret: string;
  readonly stats: Stats;
  readonly isBanned: (user: string) => boolean;
  readonly revocations: Pick<Revocations, "has">;
}

function ruleOf({ authorize, authorizeTimeout, authorizeHeaders }: ChannelSettings): AuthorizeRule | null {
  return authorize === null ? null : { url: authorize, timeout: authorizeTimeout, headers: authorizeHeaders };
}

/** The authorizer of this server; `null` if no channel has `authorize`. */
export function createAuthorizer(options: Omit<AuthorizerOptions, "hookSecret">): Authorizer | null {
  const { hookSecret, channels } = options.config;
  if (hookSecret === null || channels.every(({ authorize }) => authorize === null)) return null;
  return new Authorizer({ ...options, hookSecret });
}

/** Asks the application whether clients may join, by their cookies and other headers. */
export class Authorizer {
  /** Length of an id for a user that neither the application nor a token names. */
  readonly idLength: number;
  readonly #config: Config;
  readonly #rules: readonly { readonly pattern: string; readonly rule: AuthorizeRule | null }[];
  readonly #names: readonly string[];
  readonly #client: HookClient;
  readonly #stats: Stats;
  readonly #isBanned: (user: string) => boolean;
  readonly #revocations: Pick<Revocations, "has">;

  constructor({ config, hookSecret, stats, isBanned, revocations }: AuthorizerOptions) {
    this.#isBanned = isBanned;
    this.#revocations = revocations;
    this.idLength = config.idLength;
    this.#config = config;
    this.#rules = config.channels.map((each) => ({ pattern: each.pattern, rule: ruleOf(each) }));
    this.#names = [...new Set(this.#rules.flatMap(({ rule }) => rule?.headers ?? []))];
    this.#client = new HookClient(hookSecret);
    this.#stats = stats;
  }

  /** Requests that run or wait for their turn. */
  get pending(): number {
    return this.#client.pending;
  }

  /** Who decides on a channel; `null` where only tokens do. Never the application for `admin`, and for `system` if it is not public. */
  ruleFor(channel: string): AuthorizeRule | null {
    const found = this.#rules.find(({ pattern }) => nameCovers(pattern, channel))?.rule ?? null;
    if (found === null || !SERVER_CHANNELS.has(channel)) return found;
    return isOpenChannel(this.#config, channel) ? found : null;
  }

  /** Why claims are of no use, although the application allows a join. */
  rejectionOf({ user, jti }: Claims): TokenCode | null {
    if (jti !== undefined && this.#revocations.has("token", jti)) return "token_revoked";
    return this.#isBanned(user) ? "user_banned" : null;
  }

  /** The headers of a client's request that are forwarded: none of a page that any website could be. */
  headersOf(headers: Headers, https: boolean): ForwardedHeaders {
    const forwarded: Record<string, string> = {};
    if (!mayUseCookies(headers, this.#config, https)) return forwarded;
    for (const name of this.#names) {
      const value = headers.get(name);
      const kept = name === "cookie" && value !== null ? withoutSessions(value) : value;
      if (kept) forwarded[name] = kept;
    }
    return forwarded;
  }

  /** Never rejects. */
  async ask(question: JoinQuestion): Promise<Decision> {
    const began = performance.now();
    const decision = await this.#decide(question);
    if (decision === CANCELLED) return decision;
    const { authorizations } = this.#stats;
    authorizations.seconds += (performance.now() - began) / 1000;
    count(authorizations.results, decision.kind === "not its own" ? "denied" : decision.kind);
    return decision;
  }

  async #decide({
    rule,
    channel,
    user,
    params,
    address,
    headers,
    startBy,
    signal,
  }: JoinQuestion): Promise<Decision> {
    if (signal.aborted) return CANCELLED;
    if (performance.now() > startBy) return { kind: "unavailable", cause: "timeout" };
    const named = user === null ? "" : `,"user":${JSON.stringify(user)}`;
    const body = `{"channel":${JSON.stringify(channel)}${named},"params":${params},"address":${JSON.stringify(address)}}`;
    const forwarded: Record<string, string> = {};
    for (const name of rule.headers) if (headers[name] !== undefined) forwarded[name] = headers[name];
    const request = {
      ...{ url: rule.url, body, headers: forwarded, startBy, signal },
      timeout: rule.timeout,
      maxAnswer: MAX_ANSWER,
    };
    let answer = await this.#client.post(request);
    // The application may have closed a kept connection just now. Asking twice does no harm.
    if (answer === "unreachable" && performance.now() <= startBy) answer = await this.#client.post(request);
    if (answer === "cancelled") return CANCELLED;
    if (typeof answer === "string") return { kind: "unavailable", cause: answer };
    const decision = readAuthorizeAnswer(answer);
    if (decision.kind !== "allowed" || !isUserChannel(channel)) return decision;
    // The channel of a user, for nobody else, whatever the application says.
    const { user: id } = decision.permission;
    return id && userChannel(id) === channel ? decision : { kind: "not its own" };
  }
}

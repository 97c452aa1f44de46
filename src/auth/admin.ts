import { randomBytes } from "node:crypto";
import type { ApiKey, Config } from "../config/config.ts";
import { SESSION_MS, type Session, Sessions } from "./admin-session.ts";
import { type Audit, resultOf } from "./audit.ts";
import type { Claims } from "./claims-types.ts";
import { FailedAttempts, type Proof, type ProofSource } from "./failed-attempts.ts";
import { adminKeys, isOneOf } from "./keys.ts";
import type { Peer } from "./peer.ts";
import { Rejection } from "./rejection.ts";
import { Revocations } from "./revocations.ts";
import { isForeign, isSameOrigin } from "./same-origin.ts";

/** Let in; `cookie` is the value of a `Set-Cookie` header. */
export interface SignedIn {
  readonly ok: true;
  readonly cookie: string;
}

/** Who an answer is for: the administrator, by secret or session, or a backend with a key of less than that. */
export type Caller =
  | { readonly kind: "administrator"; readonly session?: Session }
  | { readonly kind: "key"; readonly key: ApiKey };

export interface Identified {
  readonly ok: true;
  readonly caller: Caller;
}

/** The administrator's secret and all that opens with it. */
export interface Admin {
  /** The code of the sign-in link for the start-up message; `null` where the operator has a secret of their own. */
  readonly signInCode: string | null;
  /**
   * Whether a request comes from an administrator: the secret as Bearer, or a session's cookie. By cookie, a request
   * that changes something must come from the same origin.
   */
  check(request: Request, peer: Peer): { readonly ok: true; readonly caller: Caller } | Rejection;
  /** As `check`, and takes the keys of `[[api_keys]]` too: what one of them may do is for whoever asks to look at. */
  identify(request: Request, peer: Peer): Identified | Rejection;
  /** What an upgrade may do by the cookie that it brings, as a token would say it; `null` without a good one. */
  upgradeClaims(request: Request, peer: Peer): Claims | null;
  /** Begins a session for whoever has the secret. */
  signIn(secret: string, request: Request, peer: Peer): SignedIn | Rejection;
  /** Begins a session for whoever has the code of the sign-in link, once, and sends it from our own page. */
  signInByCode(code: string, request: Request, peer: Peer): SignedIn | Rejection;
  /** Ends the session that a request brings, if any, and takes its cookie back. */
  signOut(request: Request, peer: Peer): SignedIn | Rejection;
}

/** What the administration shares with the rest of the server; each has a default for tests. */
export interface AdminParts {
  /** Unix time in ms, for sessions. */
  readonly now?: () => number;
  readonly wrong?: FailedAttempts;
  readonly revocations?: Revocations;
  readonly audit?: Audit;
}

/** Who an administrator is where users are told apart: in presence, and in agent lists. */
const ADMINISTRATOR = "administrator";

const COOKIE = "channel_session";

/** Cookies of our name that are looked at in one request: other ports and paths of this host may have set some. */
const MAX_COOKIES = 8;

const ALL = Object.freeze({ join: true, push: true, presence: true });
const NOT_SIGNED_IN: Rejection = new Rejection(
  401,
  "not_signed_in",
  "Administrator required: sign in, or send the admin secret as Bearer.",
);
const WRONG_SECRET: Rejection = new Rejection(401, "wrong_secret", "Wrong admin secret.");
const WRONG_KEY: Rejection = new Rejection(401, "wrong_key", "Neither the admin secret nor an API key.");
const KEY_ONLY: Rejection = new Rejection(
  403,
  "admin_only",
  "Administrator required: an API key is not enough.",
);
const WRONG_CODE: Rejection = new Rejection(401, "sign_in_link_used", "Link expired or already used.");
const FOREIGN: Rejection = new Rejection(
  403,
  "own_pages_only",
  "With a session cookie, changes are accepted only from this server's own pages.",
);
const FOREIGN_CODE: Rejection = new Rejection(
  403,
  "own_pages_only",
  "A sign-in link works only on this server's own page: open it in a browser.",
);

export function createAdmin(config: Config, parts: AdminParts = {}): Admin {
  const { now = Date.now, wrong = new FailedAttempts(), audit = () => {} } = parts;
  const revocations = parts.revocations ?? new Revocations(undefined, now);
  const sessions = new Sessions(adminKeys(config, "session"), revocations, now);
  const secrets = [config.adminSecret, ...config.olderAdminSecrets];
  const signInCode = config.adminSecretGenerated ? randomBytes(18).toString("base64url") : null;
  let code = signInCode;

  const sourceOf = ({ headers }: Request, { address, https }: Peer): ProofSource => ({
    address,
    foreign: isForeign(headers, config.publicUrl, https),
  });

  /** Whatever can be guessed in plain is checked here. */
  const guess = (
    given: string,
    right: readonly string[],
    source: ProofSource,
    proof: Proof,
    refusal: Rejection,
  ): Rejection | null => {
    const wait = wrong.waitSecs(source);
    if (wait > 0) return tooMany(wait);
    if (isOneOf(given, right)) return null;
    wrong.count(source, proof);
    return refusal;
  };

  /** Where browsers come by https, a proxy that says nothing of it does not take that away. */
  const secure = config.publicUrl?.startsWith("https:") ?? false;

  const cookie = (value: string, maxAgeSecs: number, { https }: Peer): SignedIn => {
    const path = config.basePath === "" ? "/" : config.basePath;
    const attributes = `Path=${path}; Max-Age=${maxAgeSecs}; HttpOnly; SameSite=Strict${https || secure ? "; Secure" : ""}`;
    return { ok: true, cookie: `${COOKIE}=${value}; ${attributes}` };
  };

  /** A proof that is known to be good is no guess; any other is one, and waits where its address has tried too many. */
  const sessionOf = (request: Request, peer: Peer): Session | null => {
    const values = cookieValues(request.headers.get("cookie"));
    if (values.length === 0) return null;
    for (const value of values) {
      const session = sessions.known(value);
      if (session !== null) return session;
    }
    const source = sourceOf(request, peer);
    for (const value of values) {
      if (wrong.wasWrong(source, value)) continue;
      if (wrong.waitSecs(source) > 0) return null;
      const session = sessions.read(value);
      if (session === "forged") wrong.count(source, "cookie", value);
      else if (typeof session === "object") return session;
    }
    return null;
  };

  /** All keys are compared, whichever is right: the time tells nothing. */
  const keyOf = (given: string): ApiKey | null => {
    let found: ApiKey | null = null;
    for (const key of config.apiKeys) if (isOneOf(given, key.keys)) found = key;
    return found;
  };

  const byBearer = (bearer: string, source: ProofSource): Identified | Rejection => {
    const key = keyOf(bearer);
    const right = key === null ? secrets : [bearer];
    const refusal = guess(
      bearer,
      right,
      source,
      "bearer",
      config.apiKeys.length === 0 ? WRONG_SECRET : WRONG_KEY,
    );
    if (refusal !== null) return refusal;
    return { ok: true, caller: key === null ? { kind: "administrator" } : { kind: "key", key } };
  };

  const identify = (request: Request, peer: Peer): Identified | Rejection => {
    const bearer = bearerOf(request.headers);
    if (bearer !== null) return byBearer(bearer, sourceOf(request, peer));
    const session = sessionOf(request, peer);
    if (session === null) return NOT_SIGNED_IN;
    const harmless = request.method === "GET" || request.method === "HEAD";
    if (!harmless && !isSameOrigin(request.headers, config.publicUrl, peer.https)) return FOREIGN;
    return { ok: true, caller: { kind: "administrator", session } };
  };

  const begin = (proof: Proof, peer: Peer): SignedIn => {
    const { proof: value, session } = sessions.begin();
    const who = callerName({ kind: "administrator", session });
    audit({ act: "sign_in", who, from: peer.address, what: { by: proof }, result: "ok" });
    return cookie(value, SESSION_MS / 1000, peer);
  };

  const refused = (act: string, peer: Peer, refusal: Rejection): Rejection => {
    audit({ act, who: "nobody", from: peer.address, result: resultOf(refusal.status) });
    return refusal;
  };

  return {
    signInCode,
    identify,
    check(request, peer) {
      const found = identify(request, peer);
      return found.ok && found.caller.kind === "key" ? KEY_ONLY : found;
    },
    upgradeClaims(request, peer) {
      const { headers } = request;
      const session = isSameOrigin(headers, config.publicUrl, peer.https) ? sessionOf(request, peer) : null;
      if (session === null) return null;
      const { expiresAt } = session;
      return { user: ADMINISTRATOR, channels: ["admin"], can: ALL, expiresAt, admin: true, session };
    },
    signIn(secret, request, peer) {
      const refusal = guess(secret, secrets, sourceOf(request, peer), "secret", WRONG_SECRET);
      return refusal === null ? begin("secret", peer) : refused("sign_in", peer, refusal);
    },
    signInByCode(given, request, peer) {
      // What no page of ours sent is not looked at: a web page must not be able to try codes, nor to count as one who does.
      if (
        !isSameOrigin(request.headers, config.publicUrl, peer.https) ||
        isForeign(request.headers, config.publicUrl, peer.https)
      )
        return FOREIGN_CODE;
      const right = code === null ? [] : [code];
      const refusal = guess(given, right, sourceOf(request, peer), "code", WRONG_CODE);
      if (refusal !== null) return refused("sign_in", peer, refusal);
      code = null;
      return begin("code", peer);
    },
    signOut(request, peer) {
      const session = sessionOf(request, peer);
      if (session !== null && !isSameOrigin(request.headers, config.publicUrl, peer.https)) return FOREIGN;
      if (session !== null) {
        sessions.end(session);
        const who = callerName({ kind: "administrator", session });
        audit({ act: "sign_out", who, from: peer.address, result: "ok" });
      }
      return cookie("", 0, peer);
    },
  };
}

/** Who a caller is in the audit log: nothing in it opens anything. */
export function callerName(caller: Caller): string {
  if (caller.kind === "key") return `key:${caller.key.name}`;
  return caller.session === undefined ? "secret" : `session:${caller.session.id.slice(0, 8)}`;
}

/** The credentials of an `Authorization: Bearer` header; `null` without one. */
export function bearerOf(headers: Headers): string | null {
  const match = /^bearer +(.+)$/i.exec(headers.get("authorization") ?? "");
  return match?.[1]?.trim() ?? null;
}

function tooMany(retryAfterSecs: number): Rejection {
  return new Rejection(
    429,
    "too_many_wrong_secrets",
    "Too many wrong secrets from this address: one attempt every 2 seconds is checked.",
    retryAfterSecs,
  );
}

/** The values of our cookie: another port or path of this host may have set one of the same name before it. */
function cookieValues(header: string | null): string[] {
  if (header === null) return [];
  return header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${COOKIE}=`))
    .slice(0, MAX_COOKIES)
    .map((pair) => pair.slice(COOKIE.length + 1));
}

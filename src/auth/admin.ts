import { randomBytes } from "node:crypto";
import type { ApiKey, Config } from "../config/config.ts";
import { type AdminSession, AdminSessions, SESSION_MS } from "./admin-session.ts";
import { type Audit, resultOf } from "./audit.ts";
import type { Claims } from "./claims-types.ts";
import { type AttemptSource, type CredentialKind, FailedAttempts } from "./failed-attempts.ts";
import { KeyMarks } from "./key-marks.ts";
import { reachesAll } from "./key-scope.ts";
import { adminKeys, isOneOf } from "./keys.ts";
import type { Peer } from "./peer.ts";
import { type Principal, principalName } from "./principal.ts";
import { Rejection } from "./rejection.ts";
import { Revocations } from "./revocations.ts";
import { isForeign, isSameOrigin } from "./same-origin.ts";

/** A session was created or ended; `cookie` is the value of the `Set-Cookie` header. */
export interface SessionCookie {
  readonly ok: true;
  readonly cookie: string;
}

export interface Authenticated {
  readonly ok: true;
  readonly principal: Principal;
}

/** Authentication by the admin secret, its sessions and API keys. */
export interface Admin {
  /** The code of the one-time sign-in link; `null` if an admin secret is configured. */
  readonly signInCode: string | null;
  /**
   * Accepts the administrator: the secret as Bearer, or a session cookie of the administrator. With a cookie, a request
   * other than GET and HEAD must come from the same origin.
   */
  requireAdmin(request: Request, peer: Peer): Authenticated | Rejection;
  /**
   * As `requireAdmin`, but accepts the keys of `[[api_keys]]` and their sessions too. The caller checks the key's abilities
   * and channels.
   */
  authenticate(request: Request, peer: Peer): Authenticated | Rejection;
  /** The claims that a session cookie of the administrator grants to a socket; `null` without a valid one. */
  upgradeClaims(request: Request, peer: Peer): Claims | null;
  /** Creates a session from the admin secret, or from an API key for all channels that may read: it has the key's rights. */
  signIn(secret: string, request: Request, peer: Peer): SessionCookie | Rejection;
  /** Creates a session from the code of the sign-in link: valid once, and only from this server's own page. */
  signInByCode(code: string, request: Request, peer: Peer): SessionCookie | Rejection;
  /** Why no sign-in link works any more; `null` while one does. Says nothing about a code. */
  signInLinkRejection(): Rejection | null;
  /** Revokes the session of a request, if it has one, and deletes its cookie. */
  signOut(request: Request, peer: Peer): SessionCookie | Rejection;
}

/** The code of the sign-in link that several processes share. */
export interface SharedCode {
  readonly code: string;
  isUsed(): boolean;
  /** Returns whether it was not used before. */
  use(): boolean;
}

/** Parts shared with the rest of the server; each has a default for tests. */
export interface AdminParts {
  /** Unix time in ms, for sessions. */
  readonly now?: () => number;
  readonly wrong?: FailedAttempts;
  readonly revocations?: Revocations;
  readonly audit?: Audit;
  /** Where several processes share a generated `adminSecret`. */
  readonly sharedCode?: SharedCode | null;
}

/** The user id of an administrator, in presence and agent lists. */
const ADMINISTRATOR = "administrator";

const COOKIE = "channel_session";

/** Session cookies checked per request: other ports and paths of this host may set cookies of the same name. */
const MAX_COOKIES = 8;

const ALL = Object.freeze({ join: true, push: true, presence: true });
export const NOT_SIGNED_IN = new Rejection(
  401,
  "not_signed_in",
  "Administrator required: sign in, or send the admin secret or an API key as Bearer.",
);
export const WRONG_SECRET = new Rejection(401, "wrong_secret", "Wrong admin secret.");
export const WRONG_KEY = new Rejection(401, "wrong_key", "Neither the admin secret nor an API key.");
const KEY_ONLY = new Rejection(403, "admin_only", "Administrator required: an API key is not enough.");
const WRONG_CODE = new Rejection(401, "sign_in_link_used", "Link expired or already used.");
export const FOREIGN = new Rejection(
  403,
  "own_pages_only",
  "With a session cookie, changes are accepted only from this server's own pages.",
);
const KEY_CANNOT_READ = new Rejection(
  403,
  "ability_missing",
  "To sign in, an API key needs the ability read.",
);
const KEY_NOT_FOR_ALL = new Rejection(
  403,
  "all_channels_needed",
  "To sign in, an API key must be for all channels (*).",
);
export const FOREIGN_CODE = new Rejection(
  403,
  "own_pages_only",
  "A sign-in link works only on this server's own page: open it in a browser.",
);

/** A code for a sign-in link. */
export function newSignInCode(): string {
  return randomBytes(18).toString("base64url");
}

export function createAdmin(config: Config, parts: AdminParts = {}): Admin {
  const { now = Date.now, wrong = new FailedAttempts(), audit = () => {} } = parts;
  const revocations = parts.revocations ?? new Revocations(undefined, now);
  const sessionKeys = adminKeys(config, "session");
  const sessions = new AdminSessions(sessionKeys, revocations, now);
  const keyMarks = new KeyMarks(sessionKeys, config.apiKeys);
  const secrets = [config.adminSecret, ...config.olderAdminSecrets];
  const { sharedCode = null } = parts;
  const signInCode = config.adminSecretGenerated ? (sharedCode?.code ?? newSignInCode()) : null;
  let code = signInCode;

  const sourceOf = ({ headers }: Request, { address, https }: Peer): AttemptSource => ({
    address,
    foreign: isForeign(headers, config.publicUrl, https),
  });

  /** Compares a guessable value, with rate limit. */
  const guess = (
    given: string,
    right: readonly string[],
    source: AttemptSource,
    kind: CredentialKind,
    rejection: Rejection,
  ): Rejection | null => {
    const wait = wrong.waitSecs(source);
    if (wait > 0) return tooManyAttempts(wait);
    if (isOneOf(given, right)) return null;
    wrong.count(source, kind);
    return rejection;
  };

  /** With an https `public_url` the cookie is Secure even if the proxy does not forward the scheme. */
  const secure = config.publicUrl?.startsWith("https:") ?? false;

  const cookie = (value: string, maxAgeSecs: number, { https }: Peer): SessionCookie => {
    const path = config.basePath === "" ? "/" : config.basePath;
    const attributes = `Path=${path}; Max-Age=${maxAgeSecs}; HttpOnly; SameSite=Strict${https || secure ? "; Secure" : ""}`;
    return { ok: true, cookie: `${COOKIE}=${value}; ${attributes}` };
  };

  /** Who has a session; `null` if its API key is no longer configured. */
  const holderOf = (session: AdminSession): Principal | null => {
    if (session.keyMark === null) return { kind: "administrator", session };
    const key = keyMarks.find(session.keyMark);
    return key === null ? null : { kind: "key", key, session };
  };

  /** A cookie verified before is accepted at once; any other counts as an attempt and is rate-limited. */
  const sessionOf = (request: Request, peer: Peer): AdminSession | null => {
    const values = cookieValues(request.headers.get("cookie"));
    if (values.length === 0) return null;
    for (const value of values) {
      const session = sessions.cached(value);
      if (session !== null) return session;
    }
    const source = sourceOf(request, peer);
    for (const value of values) {
      if (wrong.wasWrong(source, value)) continue;
      if (wrong.waitSecs(source) > 0) return null;
      const session = sessions.verify(value);
      if (session === "forged") wrong.count(source, "cookie", value);
      else if (typeof session === "object") return session;
    }
    return null;
  };

  /** Compares with all keys, so that the duration reveals nothing. */
  const keyOf = (given: string): ApiKey | null => {
    let found: ApiKey | null = null;
    for (const key of config.apiKeys) if (isOneOf(given, key.keys)) found = key;
    return found;
  };

  /** The administrator by the secret, or a program by its API key. */
  const bySecret = (
    given: string,
    source: AttemptSource,
    kind: CredentialKind,
  ): Authenticated | Rejection => {
    const key = keyOf(given);
    const right = key === null ? secrets : [given];
    const wrongOne = config.apiKeys.length === 0 ? WRONG_SECRET : WRONG_KEY;
    const rejection = guess(given, right, source, kind, wrongOne);
    if (rejection !== null) return rejection;
    return { ok: true, principal: key === null ? { kind: "administrator" } : { kind: "key", key } };
  };

  const authenticate = (request: Request, peer: Peer): Authenticated | Rejection => {
    const bearer = bearerOf(request.headers);
    if (bearer !== null) return bySecret(bearer, sourceOf(request, peer), "bearer");
    const session = sessionOf(request, peer);
    const principal = session === null ? null : holderOf(session);
    if (principal === null) return NOT_SIGNED_IN;
    const readsOnly = request.method === "GET" || request.method === "HEAD";
    if (!readsOnly && !isSameOrigin(request.headers, config.publicUrl, peer.https)) return FOREIGN;
    return { ok: true, principal };
  };

  const startSession = (kind: CredentialKind, peer: Peer, keyMark: string | null): SessionCookie => {
    const { token, session } = sessions.create(keyMark);
    const who = nameOf(session);
    audit({ act: "sign_in", who, from: peer.address, what: { by: kind }, result: "ok" });
    return cookie(token, SESSION_MS / 1000, peer);
  };

  const nameOf = (session: AdminSession): string => {
    const principal = holderOf(session);
    return principal === null ? "nobody" : principalName(principal);
  };

  const audited = (act: string, peer: Peer, rejection: Rejection): Rejection => {
    audit({ act, who: "nobody", from: peer.address, result: resultOf(rejection.status) });
    return rejection;
  };

  return {
    signInCode,
    authenticate,
    requireAdmin(request, peer) {
      const found = authenticate(request, peer);
      return found.ok && found.principal.kind === "key" ? KEY_ONLY : found;
    },
    upgradeClaims(request, peer) {
      const { headers } = request;
      const session = isSameOrigin(headers, config.publicUrl, peer.https) ? sessionOf(request, peer) : null;
      // A key's session has the rights of the API, and none on sockets.
      if (session === null || session.keyMark !== null) return null;
      const { expiresAt } = session;
      return { user: ADMINISTRATOR, channels: ["admin"], can: ALL, expiresAt, admin: true, session };
    },
    signIn(secret, request, peer) {
      const found = bySecret(secret, sourceOf(request, peer), "secret");
      if (!found.ok) return audited("sign_in", peer, found);
      const { principal } = found;
      if (principal.kind === "administrator") return startSession("secret", peer, null);
      if (!principal.key.can.includes("read")) return audited("sign_in", peer, KEY_CANNOT_READ);
      if (!reachesAll(principal)) return audited("sign_in", peer, KEY_NOT_FOR_ALL);
      return startSession("secret", peer, keyMarks.of(secret));
    },
    signInByCode(given, request, peer) {
      // Codes from other pages are not compared: they must neither test codes nor use up attempts.
      if (
        !isSameOrigin(request.headers, config.publicUrl, peer.https) ||
        isForeign(request.headers, config.publicUrl, peer.https)
      )
        return FOREIGN_CODE;
      const right = code === null ? [] : [code];
      const rejection = guess(given, right, sourceOf(request, peer), "code", WRONG_CODE);
      if (rejection !== null) return audited("sign_in", peer, rejection);
      code = null;
      if (sharedCode?.use() === false) return audited("sign_in", peer, WRONG_CODE);
      return startSession("code", peer, null);
    },
    signInLinkRejection: () => (code === null || sharedCode?.isUsed() ? WRONG_CODE : null),
    signOut(request, peer) {
      const session = sessionOf(request, peer);
      if (session !== null && !isSameOrigin(request.headers, config.publicUrl, peer.https)) return FOREIGN;
      if (session !== null) {
        sessions.revoke(session);
        audit({ act: "sign_out", who: nameOf(session), from: peer.address, result: "ok" });
      }
      return cookie("", 0, peer);
    },
  };
}

/** The credentials of an `Authorization: Bearer` header; `null` without one. */
export function bearerOf(headers: Headers): string | null {
  const match = /^bearer +(.+)$/i.exec(headers.get("authorization") ?? "");
  return match?.[1]?.trim() ?? null;
}

/** After too many wrong secrets. */
export function tooManyAttempts(retryAfterSecs: number): Rejection {
  return new Rejection(
    429,
    "too_many_wrong_secrets",
    "Too many wrong secrets from this address: one attempt every 2 seconds is checked.",
    retryAfterSecs,
  );
}

/** A `Cookie` header without the administrator's sessions; empty if nothing else is in it. */
export function withoutSessions(cookie: string): string {
  if (!cookie.includes(COOKIE)) return cookie;
  return cookie
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => !pair.startsWith(`${COOKIE}=`))
    .join("; ");
}

/** All values of the session cookie: another port or path of this host may have set one of the same name. */
function cookieValues(header: string | null): string[] {
  if (header === null) return [];
  return header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${COOKIE}=`))
    .slice(0, MAX_COOKIES)
    .map((pair) => pair.slice(COOKIE.length + 1));
}

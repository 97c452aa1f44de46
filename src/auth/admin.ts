import { randomBytes } from "node:crypto";
import type { ApiKey, Config } from "../config.ts";
import { deriveKey, sameSecret } from "./keys.ts";
import { isSameOrigin } from "./same-origin.ts";
import { SESSION_MS, type Session, Sessions } from "./session.ts";
import type { Claims } from "./verdict.ts";
import { WrongSecrets } from "./wrong-secrets.ts";

/** Who asks, after trusted proxies. */
export interface Asker {
  readonly address: string;
  /** Whether the client's own connection is encrypted. */
  readonly https: boolean;
}

/** A refusal in HTTP's words; the sentence is for whoever asked and holds no secret. */
export interface AdminRefusal {
  readonly ok: false;
  readonly status: 401 | 403 | 429;
  readonly sentence: string;
  /** With 429: how long to wait, in seconds. */
  readonly retryAfterSecs?: number;
}

/** Let in; `cookie` is the value of a `Set-Cookie` header. */
export interface SignedIn {
  readonly ok: true;
  readonly cookie: string;
}

/** Who an answer is for: the administrator, or a backend with a key of less than that. */
export type Caller = { readonly kind: "administrator" } | { readonly kind: "key"; readonly key: ApiKey };

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
  check(request: Request, asker: Asker): { readonly ok: true } | AdminRefusal;
  /** As `check`, and takes the keys of `[[api_keys]]` too: what one of them may do is for whoever asks to look at. */
  identify(request: Request, asker: Asker): Identified | AdminRefusal;
  /** What an upgrade may do by the cookie that it brings, as a token would say it; `null` without a good one. */
  upgradeClaims(request: Request): Claims | null;
  /** Begins a session for whoever has the secret. */
  signIn(secret: string, asker: Asker): SignedIn | AdminRefusal;
  /** Begins a session for whoever has the code of the sign-in link, once. */
  signInByCode(code: string, asker: Asker): SignedIn | AdminRefusal;
  /** Ends the session that a request brings, if any, and takes its cookie back. */
  signOut(request: Request, asker: Asker): SignedIn | AdminRefusal;
}

/** Who an administrator is where users are told apart: in presence, and in agent lists. */
const ADMINISTRATOR = "administrator";

const COOKIE = "channel_session";
const ALL = Object.freeze({ join: true, push: true, presence: true });
const NOT_SIGNED_IN: AdminRefusal = {
  ok: false,
  status: 401,
  sentence: "This needs the administrator: sign in, or send the admin secret as Bearer.",
};
const WRONG_SECRET: AdminRefusal = { ok: false, status: 401, sentence: "That is not the admin secret." };
const WRONG_KEY: AdminRefusal = {
  ok: false,
  status: 401,
  sentence: "That is neither the admin secret nor an API key.",
};
const KEY_ONLY: AdminRefusal = {
  ok: false,
  status: 403,
  sentence: "This needs the administrator: an API key is not enough.",
};
const ADMINISTRATOR_CALLS: Identified = { ok: true, caller: { kind: "administrator" } };
const WRONG_CODE: AdminRefusal = {
  ok: false,
  status: 401,
  sentence: "That sign-in link is not good, or no longer: each works once.",
};
const FOREIGN: AdminRefusal = {
  ok: false,
  status: 403,
  sentence: "A signed-in request that changes something must come from this server's own pages.",
};

/**
 * @param now unix time in ms, for sessions
 * @param monotonic a clock in ms that never goes back, for counting wrong secrets
 */
export function createAdmin(config: Config, now: () => number = Date.now, monotonic?: () => number): Admin {
  const sessions = new Sessions(deriveKey(config.adminSecret, "session"), now);
  const wrong = new WrongSecrets(monotonic);
  const signInCode = config.adminSecretGenerated ? randomBytes(18).toString("base64url") : null;
  let code = signInCode;

  /** One door for everything that can be guessed. */
  const guess = (
    given: string,
    right: string | null,
    asker: Asker,
    refusal: AdminRefusal,
  ): AdminRefusal | null => {
    const wait = wrong.waitSecs(asker.address);
    if (wait > 0) return tooMany(wait);
    if (right !== null && sameSecret(given, right)) return null;
    wrong.count(asker.address);
    return refusal;
  };

  /** Where browsers come by https, a proxy that says nothing of it does not take that away. */
  const secure = config.publicUrl?.startsWith("https:") ?? false;

  const cookie = (value: string, maxAgeSecs: number, { https }: Asker): SignedIn => {
    const path = config.basePath === "" ? "/" : config.basePath;
    const attributes = `Path=${path}; Max-Age=${maxAgeSecs}; HttpOnly; SameSite=Strict${https || secure ? "; Secure" : ""}`;
    return { ok: true, cookie: `${COOKIE}=${value}; ${attributes}` };
  };

  const sessionOf = (headers: Headers): Session | null => {
    for (const value of cookieValues(headers.get("cookie"))) {
      const session = sessions.read(value);
      if (session !== null) return session;
    }
    return null;
  };

  /** All keys are compared, whichever is right: the time tells nothing. */
  const keyOf = (given: string): ApiKey | null => {
    let found: ApiKey | null = null;
    for (const key of config.apiKeys) if (sameSecret(given, key.key)) found = key;
    return found;
  };

  const byBearer = (bearer: string, asker: Asker): Identified | AdminRefusal => {
    const key = keyOf(bearer);
    const right = key === null ? config.adminSecret : bearer;
    const refusal = guess(bearer, right, asker, config.apiKeys.length === 0 ? WRONG_SECRET : WRONG_KEY);
    if (refusal !== null) return refusal;
    return key === null ? ADMINISTRATOR_CALLS : { ok: true, caller: { kind: "key", key } };
  };

  const identify = (request: Request, asker: Asker): Identified | AdminRefusal => {
    const bearer = bearerOf(request.headers);
    if (bearer !== null) return byBearer(bearer, asker);
    if (sessionOf(request.headers) === null) return NOT_SIGNED_IN;
    const harmless = request.method === "GET" || request.method === "HEAD";
    return harmless || isSameOrigin(request.headers, config.publicUrl) ? ADMINISTRATOR_CALLS : FOREIGN;
  };

  return {
    signInCode,
    identify,
    check(request, asker) {
      const found = identify(request, asker);
      if (!found.ok) return found;
      return found.caller.kind === "key" ? KEY_ONLY : { ok: true };
    },
    upgradeClaims({ headers }) {
      const session = isSameOrigin(headers, config.publicUrl) ? sessionOf(headers) : null;
      if (session === null) return null;
      const { expiresAt } = session;
      return { user: ADMINISTRATOR, channels: ["admin"], can: ALL, expiresAt, admin: true };
    },
    signIn(secret, asker) {
      const refusal = guess(secret, config.adminSecret, asker, WRONG_SECRET);
      return refusal ?? cookie(sessions.begin(), SESSION_MS / 1000, asker);
    },
    signInByCode(given, asker) {
      const refusal = guess(given, code, asker, WRONG_CODE);
      if (refusal !== null) return refusal;
      code = null;
      return cookie(sessions.begin(), SESSION_MS / 1000, asker);
    },
    signOut(request, asker) {
      const session = sessionOf(request.headers);
      if (session !== null && !isSameOrigin(request.headers, config.publicUrl)) return FOREIGN;
      if (session !== null) sessions.end(session);
      return cookie("", 0, asker);
    },
  };
}

/** The credentials of an `Authorization: Bearer` header; `null` without one. */
export function bearerOf(headers: Headers): string | null {
  const match = /^bearer +(.+)$/i.exec(headers.get("authorization") ?? "");
  return match?.[1]?.trim() ?? null;
}

function tooMany(retryAfterSecs: number): AdminRefusal {
  const sentence = "Too many wrong secrets from this address: try again in a minute.";
  return { ok: false, status: 429, sentence, retryAfterSecs };
}

/** All values of our cookie: another port or path of this host may have set one of the same name before it. */
function cookieValues(header: string | null): string[] {
  if (header === null) return [];
  return header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${COOKIE}=`))
    .map((pair) => pair.slice(COOKIE.length + 1));
}

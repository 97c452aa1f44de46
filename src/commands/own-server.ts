import { AdminSessions, SESSION_MS } from "../auth/admin-session.ts";
import { isObject, type JsonObject } from "../auth/json-object.ts";
import { adminKeys } from "../auth/keys.ts";
import { Revocations } from "../auth/revocations.ts";
import type { Config } from "../config/config.ts";

/** The address of the server of a configuration, from this machine. */
export function ownAddress({ tls, host, port, basePath }: Config): string {
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const name = reachable.includes(":") ? `[${reachable}]` : reachable;
  return `${tls === null ? "http" : "https"}://${name}:${port}${basePath}`;
}

/** Lifetime of the session for one question, in ms. */
const SESSION_LEFT_MS = 30_000;
const TIMEOUT_MS = 5000;

/** Reads from the API of the server of a configuration. */
export interface OwnServer {
  /** The answer, with its status; `null` without one. */
  read(path: string): Promise<{ readonly status: number; readonly body: JsonObject } | null>;
}

/**
 * The server of a configuration on this machine; `null` if none can be asked: it has no `admin_secret`, or the system chose
 * its port. The secret is not sent, since another program may listen there: a session derived from it is, for 30 s. (A server
 * with the embedded bus accepts no session from before its start, so not this one.)
 */
export function ownServer(config: Config): OwnServer | null {
  if (config.adminSecretGenerated || config.port === 0) return null;
  const before = () => Date.now() - SESSION_MS + SESSION_LEFT_MS;
  const sessions = new AdminSessions(adminKeys(config, "session"), new Revocations(), before);
  const cookie = `channel_session=${sessions.create().token}`;
  // The session is for this machine only.
  process.env.NO_PROXY = "*";
  return {
    async read(path) {
      try {
        const response = await fetch(`${ownAddress(config)}${path}`, {
          headers: { cookie },
          // The name in a certificate is the public one, and this address is our own.
          tls: { rejectUnauthorized: false },
          redirect: "manual",
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        const body: unknown = await response.json();
        return { status: response.status, body: isObject(body) ? body : {} };
      } catch {
        return null;
      }
    },
  };
}

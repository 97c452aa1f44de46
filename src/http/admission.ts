import { isIP } from "node:net";
import { type HttpCode, Rejection } from "../auth/rejection.ts";
import { isOwnHost, webOrigin } from "../auth/same-origin.ts";
import type { Config } from "../config/config.ts";
import { isLoopback } from "../config/loopback.ts";

/** Rejects a request for its `Host` or `Origin` header. */
export class ForeignRejection extends Rejection {
  readonly what: "host" | "origin";
  /** The header's value. */
  readonly value: string;
  /** For the log: the setting that does not allow it. */
  readonly logReason: string;

  constructor(
    status: 400 | 403,
    code: HttpCode,
    reason: string,
    log: { readonly what: "host" | "origin"; readonly value: string; readonly reason: string },
  ) {
    super(status, code, reason);
    this.what = log.what;
    this.value = log.value;
    this.logReason = log.reason;
  }
}

/** The host name in a `Host` header: lower case, without port, brackets and final dot; `null` if invalid. */
function hostName(header: string): string | null {
  if (!/^[^\s/?#@\\]+$/.test(header)) return null;
  return bareName(URL.parse(`http://${header}`)?.hostname ?? null);
}

function bareName(name: string | null): string | null {
  const bare = name?.replace(/^\[|\]$/g, "").replace(/\.$/, "") ?? "";
  return bare === "" ? null : bare;
}

/** Quotes and shortens a client's text for an error. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}

/**
 * Rejects host names in `Host` other than that of `public_url` and those in `allowed_hosts`, against DNS rebinding. IP
 * addresses and loopback names are accepted, and so is a request without `Host`, which no browser sends.
 */
export function checkHost(headers: Headers, config: Config): ForeignRejection | null {
  const header = headers.get("host");
  if (header === null) return null;
  const name = hostName(header);
  if (name === null) {
    return new ForeignRejection(400, "bad_host", "The Host header contains no valid host name.", {
      what: "host",
      value: header,
      reason: "no host name",
    });
  }
  // Without a configured name, a server that listens beyond loopback accepts any.
  if (config.allowedHosts === null && config.publicUrl === null && !isLoopback(config.host)) return null;
  const own = config.publicUrl === null ? null : bareName(URL.parse(config.publicUrl)?.hostname ?? null);
  if (isIP(name) !== 0 || isLoopback(name) || name === own || config.allowedHosts?.includes(name))
    return null;
  return new ForeignRejection(
    403,
    "host_not_allowed",
    `Host name ${quote(name)} is not allowed (allowed_hosts).`,
    {
      what: "host",
      value: header,
      reason: "allowed_hosts does not list it",
    },
  );
}

/** Rejects web pages of origins outside `allowed_origins`. Accepts requests without `Origin`: they come from no web page. */
export function checkOrigin(headers: Headers, config: Config): ForeignRejection | null {
  const origin = headers.get("origin");
  if (origin === null || isAllowedOrigin(origin, headers, config)) return null;
  return new ForeignRejection(
    403,
    "origin_not_allowed",
    `Origin ${quote(origin)} is not allowed (allowed_origins).`,
    {
      what: "origin",
      value: origin,
      reason: "allowed_origins does not allow it",
    },
  );
}

function isAllowedOrigin(given: string, headers: Headers, config: Config): boolean {
  const allowed = config.allowedOrigins;
  if (allowed === "*") return true;
  // A list names other origins: this server's own pages may always connect.
  if (isOwnHost(headers, config.publicUrl)) return true;
  if (allowed !== "same-host") return allowed.includes(given);
  const origin = webOrigin(given);
  if (origin === null) return false;
  const name = bareName(origin.hostname);
  const host = hostName(headers.get("host") ?? "");
  if (name === null) return false;
  const own = config.publicUrl === null ? null : bareName(URL.parse(config.publicUrl)?.hostname ?? null);
  return name === host || name === own || (host !== null && isLoopback(name) && isLoopback(host));
}

/** CORS headers that let pages of allowed origins read a response. Never allows cookies. */
export function corsHeaders(headers: Headers, config: Config): Record<string, string> {
  const origin = headers.get("origin");
  if (config.allowedOrigins === "*") return { "access-control-allow-origin": "*" };
  if (origin === null || !isAllowedOrigin(origin, headers, config)) return { vary: "Origin" };
  return { "access-control-allow-origin": origin, vary: "Origin" };
}

/** Headers of a CORS preflight response. Allows all requested headers. */
export function preflightHeaders(headers: Headers, config: Config, methods: string): Record<string, string> {
  const requested = headers.get("access-control-request-headers");
  const allowed = corsHeaders(headers, config);
  const vary = [allowed.vary, "Access-Control-Request-Headers"]
    .filter((name) => name !== undefined)
    .join(", ");
  return {
    ...allowed,
    vary,
    "access-control-allow-methods": methods,
    "access-control-max-age": "600",
    ...(requested === null ? {} : { "access-control-allow-headers": requested }),
  };
}

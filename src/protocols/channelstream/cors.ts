import { webOrigin } from "../../auth/same-origin.ts";

/** The rule for pages of other origins, for requests and sockets. */
export interface CrossOrigin {
  /** Whether a request with these headers is allowed. One without `Origin` is not from a browser, and is. */
  allows(headers: Headers): boolean;
  /** Headers that let the page read the answer. */
  headers(headers: Headers): Readonly<Record<string, string>>;
}

/**
 * `allow_cors`: allows pages of these hosts (whole names, with or without port and scheme), and those of this server. An
 * empty list: `otherwise`.
 */
export function createCrossOrigin(
  hosts: readonly string[],
  own: (headers: Headers) => boolean,
  otherwise: CrossOrigin,
): CrossOrigin {
  if (hosts.length === 0) return otherwise;
  const allowed = new Set(hosts.map((host) => host.toLowerCase().replace(/\/$/, "")));

  const names = (headers: Headers): boolean => {
    const given = headers.get("origin");
    if (given === null) return false;
    const origin = webOrigin(given);
    // The origin of an app has a scheme of its own, without a host name.
    if (origin === null) return hosts.includes(given);
    return [origin.hostname, origin.host, origin.origin].some((name) => allowed.has(name));
  };

  return {
    allows: (headers) => !headers.has("origin") || own(headers) || names(headers),
    headers: (headers) => {
      const origin = headers.get("origin");
      if (origin === null || !(own(headers) || names(headers))) return { vary: "Origin" };
      return { "access-control-allow-origin": origin, vary: "Origin" };
    },
  };
}

const METHODS = "GET, POST, OPTIONS, PUT, DELETE, PATCH";
const HEADERS = "Content-Type, X-Requested-With, Cache-Control, X-Channelstream-Secret";

/** Headers of the answer to a preflight request. */
export function preflight(asked: string | null): Readonly<Record<string, string>> {
  return {
    "access-control-allow-methods": METHODS,
    "access-control-allow-headers": asked ?? HEADERS,
    "access-control-max-age": "86400",
  };
}

import type { Config } from "../config/config.ts";
import { isLoopback } from "../config/loopback.ts";

/**
 * The URL in an `Origin` header; `null` if it is not in the form that browsers send. Parsing alone is not enough: parsers
 * disagree on the host of `http://127.0.0.1\@evil.example`.
 */
export function webOrigin(header: string | null): URL | null {
  const url = header === null ? null : URL.parse(header);
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === header ? url : null;
}

/**
 * Whether `Origin` is this server's own origin: the host and port of `Host`, or those of `public_url`. An absent `Origin` or
 * `null` is not, and neither is `http:` if clients connect over TLS: an attacker on the network can forge such a page.
 *
 * @param https whether the client's own connection is encrypted
 */
export function isSameOrigin(headers: Headers, publicUrl: string | null, https: boolean): boolean {
  const origin = webOrigin(headers.get("origin"));
  if (origin === null) return false;
  const own = publicUrl === null ? null : URL.parse(publicUrl);
  if (own?.origin === origin.origin) return true;
  const secure = https || (own?.protocol === "https:" && own.hostname === origin.hostname);
  if (secure && origin.protocol !== "https:") return false;
  const host = headers.get("host");
  // Parsed with the scheme of the origin: behind a TLS proxy the omitted port is 443.
  return (
    host !== null &&
    /^[^\s/?#@\\]+$/.test(host) &&
    URL.parse(`${origin.protocol}//${host}`)?.host === origin.host
  );
}

/**
 * Whether a request's cookies may count as its sender's: it is from a page of the same host, at any port, of an origin that
 * `allowed_origins` lists, or from no page. That `"*"` allows a page is not enough: any website could act as its visitor.
 */
export function mayUseCookies(
  headers: Headers,
  { allowedOrigins, publicUrl }: Pick<Config, "allowedOrigins" | "publicUrl">,
  https: boolean,
): boolean {
  const header = headers.get("origin");
  if (header === null) return !isForeign(headers, publicUrl, https);
  if (typeof allowedOrigins !== "string" && allowedOrigins.includes(header)) return true;
  const origin = webOrigin(header);
  if (origin === null) return false;
  const own = publicUrl === null ? null : URL.parse(publicUrl);
  const secure = https || (own?.protocol === "https:" && own.hostname === origin.hostname);
  // An attacker on the network can forge a page without TLS.
  if (secure && origin.protocol !== "https:") return false;
  const host = hostNameIn(headers);
  if (origin.hostname === host || origin.hostname === own?.hostname) return true;
  return own === null && host !== null && isLoopback(host) && isLoopback(origin.hostname);
}

/** The name in `Host`, as `URL` has it; `null` without a valid one. */
function hostNameIn(headers: Headers): string | null {
  const host = headers.get("host");
  if (host === null || !/^[^\s/?#@\\]+$/.test(host)) return null;
  return URL.parse(`http://${host}`)?.hostname ?? null;
}

/** As `isSameOrigin`, for any scheme: awxkit sends `http:` over TLS. Not sufficient for administrators. */
export function isOwnHost(headers: Headers, publicUrl: string | null): boolean {
  return isSameOrigin(headers, publicUrl, false) || isSameOrigin(headers, null, false);
}

/**
 * Whether a page of another site may have sent a request, by `Origin` or, for requests without it (images, frames, links),
 * by `Sec-Fetch-Site`. Programs other than browsers send neither.
 */
export function isForeign(headers: Headers, publicUrl: string | null, https: boolean): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") return true;
  return headers.has("origin") && !isSameOrigin(headers, publicUrl, https);
}

/**
 * The address in the `Origin` header of a web page; `null` where it is not written as browsers write it. To parse alone is
 * not enough: `http://127.0.0.1\@evil.example` has the host 127.0.0.1 for one parser, and evil.example for another.
 */
export function webOrigin(header: string | null): URL | null {
  const url = header === null ? null : URL.parse(header);
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === header ? url : null;
}

/**
 * Whether a request names the server's own origin in its `Origin` header: the host and port asked for, or those of
 * `public_url` where a proxy asks in its own name. An absent `Origin` or `null` is not the same origin, and neither is
 * `http:` where browsers come by TLS: whoever is on the way can make such a page.
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
  // The origin's own scheme: behind a proxy that speaks TLS for us, port 443 is the one left out.
  return (
    host !== null &&
    /^[^\s/?#@\\]+$/.test(host) &&
    URL.parse(`${origin.protocol}//${host}`)?.host === origin.host
  );
}

/** The same, whatever its scheme: programs such as awxkit name `http:` over TLS too. It is no proof for an administrator. */
export function isOwnHost(headers: Headers, publicUrl: string | null): boolean {
  return isSameOrigin(headers, publicUrl, false) || isSameOrigin(headers, null, false);
}

/**
 * Whether a page of another site may have sent a request: its `Origin` is another one, or the browser says so where it
 * sends no `Origin` (`Sec-Fetch-Site`, for images, frames and links). Programs send neither.
 */
export function isForeign(headers: Headers, publicUrl: string | null, https: boolean): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") return true;
  return headers.has("origin") && !isSameOrigin(headers, publicUrl, https);
}

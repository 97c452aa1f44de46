/**
 * Whether a request names the server's own origin in its `Origin` header: the host and port asked for, or those of
 * `public_url` where a proxy asks in its own name. An absent `Origin` or `null` is not the same origin.
 */
export function isSameOrigin(headers: Headers, publicUrl: string | null): boolean {
  const given = headers.get("origin");
  const origin = given === null ? null : URL.parse(given);
  if (origin === null || (origin.protocol !== "http:" && origin.protocol !== "https:")) return false;
  if (publicUrl !== null && URL.parse(publicUrl)?.origin === origin.origin) return true;
  const host = headers.get("host");
  // The origin's own scheme: behind a proxy that speaks TLS for us, port 443 is the one left out.
  return (
    host !== null &&
    /^[^\s/?#@\\]+$/.test(host) &&
    URL.parse(`${origin.protocol}//${host}`)?.host === origin.host
  );
}

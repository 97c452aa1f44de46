import type { Asset } from "./assets.ts";

/** Answers with an embedded file; 304 for who has it already. */
export function serveAsset(asset: Asset, request: Request): Response {
  const headers: Record<string, string> = { etag: asset.tag, "cache-control": "no-cache" };
  if (asset.type.startsWith("text/html"))
    headers["content-security-policy"] = contentSecurity(request.headers, asset.plainMarkup ?? false);
  if (request.headers.get("if-none-match") === asset.tag) return new Response(null, { status: 304, headers });
  return new Response(asset.text, { headers: { ...headers, "content-type": asset.type } });
}

/**
 * What our pages may do: nothing but their own script, style and socket, and no text as markup. The socket's address
 * is spelled out since not every browser takes `'self'` for `ws:` too.
 */
function contentSecurity(headers: Headers, plainMarkup: boolean): string {
  const host = URL.parse(`http://${headers.get("host") ?? ""}`)?.host;
  const sockets = host === undefined ? "" : ` ws://${host} wss://${host}`;
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src 'self'${sockets}`,
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    ...(plainMarkup ? [] : ["require-trusted-types-for 'script'"]),
  ].join("; ");
}

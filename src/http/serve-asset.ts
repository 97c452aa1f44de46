import type { Asset } from "./assets.ts";

/** Responds with an embedded file, or 304 if the ETag matches. */
export function serveAsset(asset: Asset, request: Request): Response {
  const headers: Record<string, string> = { etag: asset.tag, "cache-control": "no-cache" };
  if (asset.type.startsWith("text/html"))
    headers["content-security-policy"] = contentSecurity(request.headers);
  if (request.headers.get("if-none-match") === asset.tag) return new Response(null, { status: 304, headers });
  return new Response(asset.text, { headers: { ...headers, "content-type": asset.type } });
}

/**
 * Content Security Policy of the built-in pages: own scripts, styles and sockets only, and no text as markup. Lists the
 * WebSocket origins because `'self'` does not cover `ws:` in every browser.
 */
function contentSecurity(headers: Headers): string {
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
    "require-trusted-types-for 'script'",
  ].join("; ");
}

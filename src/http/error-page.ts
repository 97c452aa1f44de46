/*
 * Errors as pages, for a person who opened an address in a browser. Programs get JSON. A page needs no other file of this server:
 * a request for one could be rejected for the same reason.
 */

const STYLE = `
:root { color-scheme: light dark; --paper: #f5f6f5; --card: #fff; --ink: #1a201f; --quiet: #57625f; --line: #dde2e0; --accent: #17624f }
@media (prefers-color-scheme: dark) {
  :root { --paper: #101413; --card: #181d1c; --ink: #e6ebe9; --quiet: #9ba8a5; --line: #2a3230; --accent: #6cc7ae }
}
body { margin: 0; padding: 12vh 1rem 2rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
main { max-width: 32rem; margin: 0 auto; padding: 1.5rem 1.75rem; border: 1px solid var(--line); border-radius: 12px; background: var(--card); overflow-wrap: anywhere }
h1 { margin: .2rem 0 .75rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em }
p { margin: .5rem 0 }
.quiet { color: var(--quiet); font-size: .85rem }
code { font: .85rem ui-monospace, Menlo, Consolas, monospace }
nav { display: flex; flex-wrap: wrap; gap: .4rem 1.25rem; margin-top: 1.25rem; padding-top: 1rem; border-top: 1px solid var(--line) }
a { color: var(--accent); text-underline-offset: .2em }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
`;

const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${new Bun.CryptoHasher("sha256").update(STYLE).digest("base64")}'`,
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

const TITLES: Readonly<Record<number, string>> = {
  400: "Invalid address",
  401: "Sign in required",
  403: "Not allowed",
  404: "Page not found",
  405: "Not a page",
  426: "Not a page",
  429: "Too many requests",
  500: "Internal error",
  503: "Not available",
};

/** What to do, where the error does not say it. */
const REMEDIES: Readonly<Record<string, string>> = {
  not_signed_in: "Sign in as administrator, then open this address again.",
  sign_in_link_used:
    "A link signs in once. Sign in with the admin secret, or restart the server: without an admin secret it logs a new link.",
  host_not_allowed: "Open the server by its public address or by its IP address.",
  websocket_only: "Clients connect here. The test client of this server shows how.",
};

/** Errors for which the other pages of this server are not served either. */
const WITHOUT_LINKS: ReadonlySet<string> = new Set(["bad_host", "host_not_allowed"]);

/** Whether a request is for a page: from the address bar or a link of a browser. `fetch`, EventSource and curl do not accept HTML by name. */
export function acceptsPage({ method, headers }: Request): boolean {
  if (method !== "GET" && method !== "HEAD") return false;
  const accept = headers.get("accept")?.toLowerCase();
  return accept?.includes("text/html") === true && !accept.includes("application/json");
}

/** The page for an error whose body is JSON; any other response as it is. */
export async function asPage(response: Response, basePath: string): Promise<Response> {
  const { status } = response;
  if (status < 400 || !response.headers.get("content-type")?.startsWith("application/json")) return response;
  const body: unknown = await response.json().catch(() => null);
  const headers = new Headers(response.headers);
  headers.set("content-type", "text/html;charset=utf-8");
  headers.set("content-security-policy", POLICY);
  headers.set("cache-control", "no-store");
  headers.set("x-content-type-options", "nosniff");
  headers.set("referrer-policy", "no-referrer");
  headers.append("vary", "Accept");
  const retry = Number(headers.get("retry-after"));
  return new Response(
    html({
      status,
      reason: textField(body, "error"),
      code: textField(body, "code"),
      retrySecs: Number.isFinite(retry) ? retry : 0,
      basePath,
    }),
    { status, headers },
  );
}

interface ErrorPage {
  readonly status: number;
  readonly reason: string;
  readonly code: string;
  readonly retrySecs: number;
  readonly basePath: string;
}

function html({ status, reason, code, retrySecs, basePath }: ErrorPage): string {
  const title =
    code === "sign_in_link_used" ? "This sign-in link no longer works" : (TITLES[status] ?? "Error");
  const remedy = REMEDIES[code] ?? (retrySecs > 0 ? `Try again in ${retrySecs} s.` : "");
  const base = Bun.escapeHTML(basePath);
  const links = [
    // Without an address, a link is to the page itself.
    ...(status === 429 || status >= 500 ? ['<a href="">Try again</a>'] : []),
    ...(status === 401 ? [`<a href="${base}/admin.html">Sign in</a>`] : []),
    ...(WITHOUT_LINKS.has(code) || status === 429
      ? []
      : [
          `<a href="${base}/">Test client</a>`,
          ...(status === 401 ? [] : [`<a href="${base}/admin.html">Administration</a>`]),
        ]),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Channel: ${title.toLowerCase()}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<p class="quiet">Channel</p>
<h1>${title}</h1>
<p>${Bun.escapeHTML(reason)}</p>
${remedy === "" ? "" : `<p>${remedy}</p>\n`}<p class="quiet">${status}${code === "" ? "" : ` <code>${Bun.escapeHTML(code)}</code>`}</p>
${links.length === 0 ? "" : `<nav aria-label="Pages">${links.join("")}</nav>\n`}</main>
</body>
</html>
`;
}

function textField(value: unknown, name: string): string {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, name) : "";
  return typeof found === "string" ? found : "";
}

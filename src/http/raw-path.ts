/** Maximum number of path segments, including those of `base_path`. */
const MAX_PARTS = 16;

const NAMES = Array.from({ length: MAX_PARTS }, (_, i) => `p${i}`);

/** Backslash or control character. */
const FORBIDDEN = /[\\\u0000-\u001f\u007f-\u009f]/;

/** Collections under /api whose next segment is a name that may contain an encoded slash. */
const NAMED: ReadonlySet<string | undefined> = new Set(["channels", "bans"]);

/**
 * Route patterns for all valid paths. `Request.url` is normalized (`/x\..\metrics` becomes `/metrics`), while route parameters
 * are the decoded segments as sent, as a proxy sees them. One segment may be empty: the first, the last or the second to last
 * (`//websocket`, which clients make from a URL that ends in a slash).
 */
export function pathPatterns(): string[] {
  const patterns = ["/", "//"];
  for (let parts = 1; parts <= MAX_PARTS; parts++) {
    const names = NAMES.slice(0, parts).map((name) => `:${name}`);
    for (const empty of new Set([0, parts - 1, parts])) {
      patterns.push(`/${names.toSpliced(empty, 0, "").join("/")}`);
    }
    patterns.push(`/${names.join("/")}`);
  }
  return patterns;
}

/** The error for a path that matches no pattern. */
export const NO_PATTERN = `A path may have at most ${MAX_PARTS} parts, none of them empty.`;

/**
 * The error for a path that a proxy and this server could interpret differently, which would bypass the rules of the proxy;
 * `null` if the path is valid.
 *
 * @param params of a route in `pathPatterns`
 * @param baseParts number of segments of `base_path`
 */
export function pathFault(
  url: string,
  params: Readonly<Record<string, string | undefined>>,
  baseParts: number,
): string | null {
  if (url.includes("#")) return "A path must not contain #.";
  for (const [i, name] of NAMES.entries()) {
    const part = params[name];
    if (part === undefined) return null;
    if (FORBIDDEN.test(part))
      return "A path must not contain a backslash or control character, encoded or not.";
    if (part === "." || part === "..") return "A path must not contain a part . or .., encoded or not.";
    if (part.includes("/") && !mayHoldSlash(params, i, baseParts)) {
      return "A path must not contain an encoded slash, except in a channel or user name under /api.";
    }
  }
  return null;
}

function mayHoldSlash(
  params: Readonly<Record<string, string | undefined>>,
  index: number,
  baseParts: number,
): boolean {
  const above = (distance: number): string | undefined => params[NAMES[index - distance] ?? ""];
  return index === baseParts + 2 && above(2) === "api" && NAMED.has(above(1));
}

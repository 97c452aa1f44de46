/** Parts that a path may have, those of `base_path` with them. */
const MAX_PARTS = 16;

const NAMES = Array.from({ length: MAX_PARTS }, (_, i) => `p${i}`);

/** A backslash, or a control character. */
const FORBIDDEN = /[\\\u0000-\u001f\u007f-\u009f]/;

/** Whose last part is a name that may hold a slash. */
const NAMED: ReadonlySet<string | undefined> = new Set(["channels", "bans"]);

/**
 * The routes of every path that may be asked for. `Request.url` is normalised (`/x\..\metrics` is `/metrics` there), while the
 * parameters of a route are the parts of the path as the client sent it, decoded: a proxy in front sees the same ones. One part
 * may be empty: the first, the last, or the one before it (`//websocket`, as clients make of an address with a slash at its
 * end).
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

/** What a path that no pattern fits is refused with. */
export const NO_PATTERN = `A path may have at most ${MAX_PARTS} parts, none of them empty.`;

/**
 * Why a path is refused before any rule looks at it, in one sentence; `null` where it is not. What a proxy and this server
 * could read as two different paths would pass the rules of the proxy.
 *
 * @param params of a route of `pathPatterns`
 * @param baseParts parts of `base_path`
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

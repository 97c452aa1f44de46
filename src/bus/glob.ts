const STAR = 42;
const MINUS = 45;
const QUESTION = 63;
const OPEN = 91;
const BACKSLASH = 92;
const CLOSE = 93;
const CARET = 94;

/**
 * Whether a name matches a pattern as Redis' PSUBSCRIBE does, byte by byte: `*` any bytes, `?` one, `[abc]`, `[a-z]`
 * (either way round) and `[^a]` one of a class, `\` the next byte as it is, in a class too. As with Redis a class that
 * is never closed ends with the pattern, and an empty name matches the empty pattern only.
 */
export function globMatches(pattern: Uint8Array, name: Uint8Array): boolean {
  if (name.length === 0) return pattern.length === 0;
  let p = 0;
  let n = 0;
  // Where to go on when the bytes after the last star turn out not to fit: the star takes one more.
  let starPattern = -1;
  let starName = 0;
  for (;;) {
    if (n === name.length) {
      while (pattern[p] === STAR) p++;
      if (p === pattern.length) return true;
    } else if (pattern[p] === STAR) {
      while (pattern[p] === STAR) p++;
      if (p === pattern.length) return true;
      starPattern = p;
      starName = n;
      continue;
    } else if (p < pattern.length) {
      const next = step(pattern, p, name[n] ?? 0);
      if (next > 0) {
        p = next;
        n++;
        continue;
      }
    }
    if (starPattern < 0 || starName + 1 >= name.length) return false;
    p = starPattern;
    n = ++starName;
  }
}

/** Matches one byte against what stands at `at`: where the pattern goes on, or -1. */
function step(pattern: Uint8Array, at: number, byte: number): number {
  const symbol = pattern[at];
  if (symbol === QUESTION) return at + 1;
  if (symbol === OPEN) return stepClass(pattern, at + 1, byte);
  const literal = symbol === BACKSLASH && at + 1 < pattern.length ? at + 1 : at;
  return pattern[literal] === byte ? literal + 1 : -1;
}

function stepClass(pattern: Uint8Array, start: number, byte: number): number {
  const { length } = pattern;
  const negated = pattern[start] === CARET;
  let at = negated ? start + 1 : start;
  let found = false;
  while (at < length && pattern[at] !== CLOSE) {
    if (pattern[at] === BACKSLASH && at + 1 < length) {
      if (pattern[at + 1] === byte) found = true;
      at += 2;
    } else if (at + 2 < length && pattern[at + 1] === MINUS) {
      const one = pattern[at] ?? 0;
      const other = pattern[at + 2] ?? 0;
      if (byte >= Math.min(one, other) && byte <= Math.max(one, other)) found = true;
      at += 3;
    } else {
      if (pattern[at] === byte) found = true;
      at++;
    }
  }
  return found === negated ? -1 : Math.min(at + 1, length);
}

/**
 * Finds the text of values inside JSON, so that a payload can be forwarded unchanged. All functions require text that
 * `JSON.parse` accepts.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;

/** One member of an object: `text.slice(start, end)` is `"key": value`. */
export interface ObjectMember {
  readonly key: string;
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

/** The index after the string whose opening quote is at `at`. */
function skipString(text: string, at: number): number {
  let close = at;
  for (;;) {
    close = text.indexOf('"', close + 1);
    if (close < 0) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(close - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return close + 1;
  }
}

function skipSpace(text: string, at: number): number {
  let i = at;
  while (text.charCodeAt(i) <= 0x20) i++;
  return i;
}

/** The index after the value that starts at `at`. */
function skipValue(text: string, at: number): number {
  let i = at;
  let depth = 0;
  while (i < text.length) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      i = skipString(text, i);
    } else if (c === OPEN_BRACE || c === OPEN_BRACKET) {
      depth++;
      i++;
    } else if (c === CLOSE_BRACE || c === CLOSE_BRACKET) {
      if (depth === 0) return i;
      depth--;
      i++;
    } else if (depth > 0) {
      i++;
      continue;
    } else if (c === COMMA || c <= 0x20) {
      return i;
    } else {
      i++;
      continue;
    }
    if (depth === 0) return i;
  }
  return i;
}

/** The text of element `index` of an array, which must be its last. */
export function lastElement(text: string, index: number): string {
  let i = skipSpace(text, 0) + 1;
  for (let element = 0; element < index; element++) {
    i = skipSpace(text, skipValue(text, skipSpace(text, i))) + 1;
  }
  return text.slice(i, text.lastIndexOf("]")).trim();
}

/** The members of an object, in order. A key may occur twice. */
export function objectMembers(text: string): ObjectMember[] {
  const members: ObjectMember[] = [];
  let i = skipSpace(text, skipSpace(text, 0) + 1);
  while (text.charCodeAt(i) === QUOTE) {
    const start = i;
    i = skipString(text, i);
    const key: unknown = JSON.parse(text.slice(start, i));
    i = skipSpace(text, skipSpace(text, i) + 1);
    const valueStart = i;
    i = skipValue(text, i);
    members.push({ key: typeof key === "string" ? key : "", start, valueStart, end: i });
    i = skipSpace(text, skipSpace(text, i) + 1);
  }
  return members;
}

/** The text of an object without its members named `key`. All other members are unchanged. */
export function withoutMember(text: string, key: string): string {
  const members = objectMembers(text);
  if (!members.some((member) => member.key === key)) return text;
  const kept = members.filter((member) => member.key !== key);
  return `{${kept.map((member) => text.slice(member.start, member.end)).join(",")}}`;
}

import { isDeeper } from "./depth.ts";
import { isJson } from "./is-json.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const SPACE = 0x20;

/** Bytes of a string that are read one by one; the end of a longer one is searched for. */
const SHORT_STRING = 32;

/** Deepest nesting of what is parsed: 100 KB of `[` take the parser 15 ms. */
const MAX_DEPTH = 64;

/** The text of a value, exactly as it was sent. A view of the text that it is part of. */
export class RawJson {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/**
 * Parses the text of an object, except for its members named `key`: the last of them becomes a `RawJson`. Any other text is
 * parsed completely.
 * @throws SyntaxError for invalid JSON or UTF-8, and where anything but that member is nested too deeply.
 */
export function parseAround(text: Uint8Array, key: string): unknown {
  if (!isJson(text)) throw new SyntaxError("not JSON");
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  const start = skipSpace(bytes, 0);
  if (bytes[start] !== OPEN_BRACE) return parseShallow(bytes.toString("utf8", start));
  const found = splitObject(bytes, start, key);
  const value = parseShallow(`{${found.others.join(",")}}`);
  return found.raw === null ? value : Object.assign(Object(value), { [key]: found.raw });
}

interface Split {
  /** The texts of all other members, without the commas between them: `"key": value`. */
  readonly others: readonly string[];
  readonly raw: RawJson | null;
}

function splitObject(bytes: Buffer, open: number, key: string): Split {
  const others: string[] = [];
  let raw: RawJson | null = null;
  let at = skipSpace(bytes, open + 1);
  /** Other members since the last one of that name; empty without any. */
  let from = at;
  let to = at;
  while (bytes[at] === QUOTE) {
    const keyEnd = stringEnd(bytes, at);
    // After the colon.
    const valueStart = skipSpace(bytes, skipSpace(bytes, keyEnd) + 1);
    const end = valueEnd(bytes, valueStart);
    const isWanted = isKey(bytes, at, keyEnd, key);
    // After the comma.
    at = skipSpace(bytes, skipSpace(bytes, end) + 1);
    if (!isWanted) {
      to = end;
      continue;
    }
    raw = new RawJson(bytes.subarray(valueStart, end));
    if (to > from) others.push(bytes.toString("utf8", from, to));
    from = at;
    to = at;
  }
  if (to > from) others.push(bytes.toString("utf8", from, to));
  return { others, raw };
}

/** Whether the string between two offsets, with its quotes, is `key`. Characters of the key may be escaped: `"p\u0061yload"`. */
function isKey(bytes: Buffer, start: number, end: number, key: string): boolean {
  // An escaped character takes up to six bytes.
  if (end - start > 6 * key.length + 2) return false;
  const parsed: unknown = JSON.parse(bytes.toString("utf8", start, end));
  return parsed === key;
}

function parseShallow(text: string): unknown {
  if (isDeeper(text, MAX_DEPTH)) throw new SyntaxError("nested too deeply");
  return JSON.parse(text);
}

function skipSpace(bytes: Buffer, at: number): number {
  let i = at;
  while (i < bytes.length && (bytes[i] ?? 0) <= SPACE) i++;
  return i;
}

/** The offset after the string whose opening quote is at `at`. */
function stringEnd(bytes: Buffer, at: number): number {
  let i = at + 1;
  for (const near = i + SHORT_STRING; i < near; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) return i + 1;
    if (byte === BACKSLASH) i++;
  }
  // The character at `i` is not escaped.
  for (let close = bytes.indexOf(QUOTE, i); close >= 0; close = bytes.indexOf(QUOTE, close + 1)) {
    let slash = close;
    while (slash > i && bytes[slash - 1] === BACKSLASH) slash--;
    if ((close - slash) % 2 === 0) return close + 1;
  }
  return bytes.length;
}

/** The offset after the value that starts at `at`. */
function valueEnd(bytes: Buffer, at: number): number {
  const first = bytes[at];
  if (first === QUOTE) return stringEnd(bytes, at);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return containerEnd(bytes, at);
  let i = at;
  while (i < bytes.length && !endsLiteral(bytes[i] ?? 0)) i++;
  return i;
}

function endsLiteral(byte: number): boolean {
  return byte === COMMA || byte === CLOSE_BRACE || byte <= SPACE;
}

function containerEnd(bytes: Buffer, at: number): number {
  let depth = 0;
  let i = at;
  while (i < bytes.length) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      i = stringEnd(bytes, i);
      continue;
    }
    i++;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return i;
  }
  return i;
}

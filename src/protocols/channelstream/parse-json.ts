import { isObject, type JsonObject } from "../../auth/json-object.ts";

/** A number as text, where a JavaScript number would change it: `12345678901234567890`. */
interface RawNumber {
  readonly rawJSON: string;
}

declare global {
  interface JSON {
    rawJSON(text: string): RawNumber;
    isRawJSON(value: unknown): value is RawNumber;
    parse(
      text: string,
      reviver: (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
  }
}

/** Numbers that a double may not hold: many digits, or an exponent. */
const LONG_NUMBER = /\d{16}|\d[eE][+-]?\d/;

/** The deepest nesting: deeper values cannot be printed again, and Python's parser refuses them too. */
const MAX_DEPTH = 512;

/** Parses JSON text so that printing it again changes no number. Throws a SyntaxError if it is not JSON, or too deep. */
export function parseJson(text: string): unknown {
  if (isTooDeep(text)) throw new SyntaxError("too deep");
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source
      ? JSON.rawJSON(source)
      : value,
  );
}

export type NumberLike = number | RawNumber;

export function isNumber(value: unknown): value is NumberLike {
  return typeof value === "number" || JSON.isRawJSON(value);
}

export function toNumber(value: NumberLike): number {
  return typeof value === "number" ? value : Number(value.rawJSON);
}

/** Whether parsed JSON is an object; a raw number is not. */
export function isRecord(value: unknown): value is JsonObject {
  return isObject(value) && !JSON.isRawJSON(value);
}

function isTooDeep(text: string): boolean {
  if (text.length <= MAX_DEPTH) return false;
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x5b || c === 0x7b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (c === 0x5d || c === 0x7d) depth--;
  }
  return false;
}

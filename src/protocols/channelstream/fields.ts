import type { JsonObject } from "../../auth/json-object.ts";
import { isNumber, isRecord, toNumber } from "./parse-json.ts";
import { readTimestamp } from "./timestamp.ts";
import { parseUuid } from "./uuid.ts";

/**
 * The problems of a value: reasons, or the problems of its parts. Words and nesting are those of Channelstream 0.7.1
 * (marshmallow 2.18), seen in its answers.
 */
export type Problems = readonly string[] | { readonly [part: string]: Problems };

export type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: Problems };

/** Reads one value of a call. Never throws. */
export type Field<T> = (value: unknown) => Read<T>;

export function good<T>(value: T): Read<T> {
  return { ok: true, value };
}

export function bad(...reasons: string[]): { readonly ok: false; readonly problems: Problems } {
  return { ok: false, problems: reasons };
}

const MISSING = bad("Missing data for required field.");
const NULL = bad("Field may not be null.");
const NO_INPUT = { ok: false, problems: { _schema: ["Invalid input type."] } } as const;

/** A text of `min` to `max` characters, counted as Python does: by code point. */
export function text(min: number, max: number): Field<string> {
  const reason = `Length must be between ${min} and ${max}.`;
  return (value) => {
    if (value === null) return NULL;
    if (typeof value !== "string") return bad("Not a valid string.");
    // A lone surrogate has no UTF-8, and cannot be sent.
    if (!value.isWellFormed()) return bad("Not a valid utf-8 string.");
    if (value.length < min || (value.length > max && [...value].length > max)) return bad(reason);
    return good(value);
  };
}

const TRUE: ReadonlySet<unknown> = new Set([true, 1, "1", "t", "T", "true", "True", "TRUE"]);
const FALSE: ReadonlySet<unknown> = new Set([false, 0, "0", "f", "F", "false", "False", "FALSE"]);

export const flag: Field<boolean> = (value) => {
  if (value === null) return NULL;
  if (TRUE.has(value)) return good(true);
  return FALSE.has(value) ? good(false) : bad("Not a valid boolean.");
};

/** A whole number, or a value that Python's `int` converts to one. */
export function count(min: number): Field<number> {
  return (value) => {
    if (value === null) return NULL;
    const number = toWhole(value);
    if (number === null) return bad("Not a valid integer.");
    return number < min ? bad(`Must be at least ${min}.`) : good(number);
  };
}

function toWhole(value: unknown): number | null {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "string") return /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : null;
  if (!isNumber(value)) return null;
  const number = Math.trunc(toNumber(value));
  return Number.isFinite(number) ? number : null;
}

export const uuid: Field<string> = (value) => {
  if (value === null) return NULL;
  const parsed = typeof value === "string" ? parseUuid(value) : null;
  return parsed === null ? bad("Not a valid UUID.") : good(parsed);
};

export const timestamp: Field<string> = (value) => {
  if (value === null) return NULL;
  const parsed = typeof value === "string" ? readTimestamp(value) : null;
  return parsed === null ? bad("Not a valid datetime.") : good(parsed);
};

/** Any object, unchanged. */
export const mapping: Field<JsonObject> = (value) => {
  if (value === null) return NULL;
  return isRecord(value) ? good(value) : bad("Not a valid mapping type.");
};

export function listOf<T>(item: Field<T>): Field<readonly T[]> {
  return (value) => {
    if (value === null) return NULL;
    if (!Array.isArray(value)) return bad("Not a valid list.");
    const items: T[] = [];
    const problems: Record<string, Problems> = {};
    for (const [index, one] of value.entries()) {
      const read = item(one);
      if (read.ok) items.push(read.value);
      else problems[index] = read.problems;
    }
    return items.length === value.length ? good(items) : { ok: false, problems };
  };
}

/** An object whose values have one type. The problems of a value are below its key and `value`. */
export function mapOf<T>(item: Field<T>): Field<ReadonlyMap<string, T>> {
  return (value) => {
    if (value === null) return NULL;
    if (!isRecord(value)) return bad("Not a valid mapping type.");
    const items = new Map<string, T>();
    const problems: [string, Problems][] = [];
    for (const [key, one] of Object.entries(value)) {
      const read = key.isWellFormed() ? item(one) : bad("Not a valid utf-8 string.");
      if (read.ok) items.set(key, read.value);
      else problems.push([key, { value: read.problems }]);
    }
    return problems.length === 0 ? good(items) : { ok: false, problems: Object.fromEntries(problems) };
  };
}

export function nullable<T>(inner: Field<T>): Field<T | null> {
  return (value) => (value === null ? good(null) : inner(value));
}

/** Adds a rule for values that `inner` accepts. */
export function checked<T>(inner: Field<T>, reasonAgainst: (value: T) => string | null): Field<T> {
  return (value) => {
    const read = inner(value);
    if (!read.ok) return read;
    const reason = reasonAgainst(read.value);
    return reason === null ? read : bad(reason);
  };
}

/** One key of an object: its field, and its result if it is left out. */
export interface Key<T> {
  readonly field: Field<T>;
  readonly missing: () => Read<T>;
}

export function required<T>(field: Field<T>): Key<T> {
  return { field, missing: () => MISSING };
}

export function optional<T>(field: Field<T>, missing: () => T): Key<T> {
  return { field, missing: () => good(missing()) };
}

/** An object with these keys; others are ignored. */
export function objectOf<T>(keys: { readonly [K in keyof T]: Key<T[K]> }): Field<T> {
  return (value) => {
    if (!isRecord(value)) return NO_INPUT;
    const read: Partial<T> = {};
    const problems: Record<string, Problems> = {};
    let failed = false;
    for (const name in keys) {
      const key = keys[name];
      const one = Object.hasOwn(value, name) ? key.field(value[name]) : key.missing();
      if (one.ok) read[name] = one.value;
      else {
        problems[name] = one.problems;
        failed = true;
      }
    }
    // Every key of the table, hence of T, has its value.
    return failed ? { ok: false, problems } : good(read as T);
  };
}

/** For a field of another object: `null` gets the reason of fields. */
export function nested<T>(inner: Field<T>): Field<T> {
  return (value) => (value === null ? NULL : inner(value));
}

/** A body that is a list of objects. */
export function bodyList<T>(item: Field<T>): Field<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value)) return NO_INPUT;
    const items: T[] = [];
    const problems: Record<string, Problems> = {};
    for (const [index, one] of value.entries()) {
      const read = item(one);
      if (read.ok) items.push(read.value);
      else if (isRecord(one)) problems[index] = read.problems;
      else {
        problems[index] = {};
        problems._schema = ["Invalid input type."];
      }
    }
    return items.length === value.length ? good(items) : { ok: false, problems };
  };
}

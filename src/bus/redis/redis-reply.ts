/** A reply of Redis without its types: maps are lists of alternating keys and values. */
export type RedisValue = string | number | null | RedisError | readonly RedisValue[];

/** An error reply. Its message begins with a code, such as `NOPERM`. */
export class RedisError {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

const LINE_END = "\r\n";
/** The reason for which a connection ends that does not use the Redis protocol. */
export const NOT_REDIS = "not a reply of Redis";
/** Deepest nesting of lists; the replies read here need three. */
const MAX_DEPTH = 8;

/**
 * Reads the value at `at` (RESP2 or RESP3): the value and the offset after it, `null` while incomplete, or
 * `"malformed"`. For replies to rare commands, not for messages.
 */
export function readReply(
  data: Buffer,
  at: number,
  depth = 0,
): { readonly value: RedisValue; readonly end: number } | null | "malformed" {
  if (depth > MAX_DEPTH) return "malformed";
  const lineEnd = data.indexOf(LINE_END, at);
  if (lineEnd < 0) return null;
  const kind = String.fromCharCode(data[at] ?? 0);
  const text = data.toString("utf8", at + 1, lineEnd);
  const end = lineEnd + LINE_END.length;
  if ("+,(#".includes(kind)) return { value: text, end };
  if (kind === "-") return { value: new RedisError(text), end };
  if (kind === "_") return { value: null, end };
  const number = Number(text);
  if (!Number.isInteger(number)) return "malformed";
  if (kind === ":") return { value: number, end };
  if (number < 0) return "$*".includes(kind) ? { value: null, end } : "malformed";
  if ("$=!".includes(kind)) {
    const after = end + number + LINE_END.length;
    if (after > data.length) return null;
    return { value: data.toString("utf8", end, end + number), end: after };
  }
  if (!"*~>%".includes(kind)) return "malformed";
  const values: RedisValue[] = [];
  let next = end;
  for (let i = kind === "%" ? 2 * number : number; i > 0; i--) {
    const item = readReply(data, next, depth + 1);
    if (item === null || item === "malformed") return item;
    values.push(item.value);
    next = item.end;
  }
  return { value: values, end: next };
}

/** The offset after the value at `at`, of any type (RESP2 and RESP3); `null` while incomplete. `end`: the end of the bytes. */
export function valueEnd(data: Buffer, at: number, end: number, depth = 0): number | null | "malformed" {
  if (depth > MAX_DEPTH) return "malformed";
  const lineEnd = data.indexOf(LINE_END, at);
  if (lineEnd < 0 || lineEnd + LINE_END.length > end) return null;
  const kind = String.fromCharCode(data[at] ?? 0);
  let after = lineEnd + LINE_END.length;
  if ("+-:_#,(".includes(kind)) return after;
  const size = Number(data.toString("latin1", at + 1, lineEnd));
  if (!Number.isInteger(size) || !"$=!*>~%|".includes(kind)) return "malformed";
  if ("$=!".includes(kind)) {
    after += size < 0 ? 0 : size + LINE_END.length;
    return after > end ? null : after;
  }
  const values = "%|".includes(kind) ? 2 * size : size;
  for (let i = 0; i < values; i++) {
    const next = valueEnd(data, after, end, depth + 1);
    if (typeof next !== "number") return next;
    after = next;
  }
  return after;
}

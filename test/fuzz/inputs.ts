import type { Random } from "../unit/protocols/phoenix/fuzz/random.ts";

/** Names of channels and events: valid, at the limit, and unusual. */
const NAMES = [
  "room-0",
  "room-1",
  "room-2",
  "room-3",
  "room-4",
  "room-5",
  "room-6",
  "room-7",
  "room-8",
  "room-9",
  "quiet-1",
  "a:b",
  "a",
  "b:c",
  "*",
  "[a-z]",
  "?",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "phoenix",
  "admin",
  "system",
  "é",
  "😀",
  "\u2028",
  "\ufeff",
  '"',
  "\\",
  " ",
  "n".repeat(255),
  "é".repeat(127),
] as const;

const BAD_NAMES = [
  "",
  "\u0000",
  "a\nb",
  "\u007f",
  "\u0085",
  "\ud800",
  "\udc00a",
  "n".repeat(256),
  "é".repeat(128),
  "x".repeat(5000),
] as const;

const EVENTS = [
  "news",
  "message",
  "access_token",
  "said",
  "phx_join",
  "phx_leave",
  "phx_reply",
  "phx_close",
  "phx_error",
  "heartbeat",
  "presence_state",
  "presence_diff",
  "channel.add",
  "__proto__",
] as const;

export function channelName(random: Random): string {
  return random.chance(92) ? random.pick(NAMES) : random.pick(BAD_NAMES);
}

export function eventName(random: Random): string {
  return random.chance(85) ? random.pick(EVENTS) : channelName(random);
}

/** A text changed in a few places, as a faulty or hostile client sends it. */
export function mutated(random: Random, text: string): string {
  let result = text;
  for (let i = random.next(3); i >= 0; i--) {
    const at = random.next(result.length + 1);
    const kind = random.next(5);
    const piece = random.pick([
      "[",
      "]",
      "{",
      "}",
      '"',
      ",",
      ":",
      "\\",
      "\u0000",
      "\ud800",
      "é",
      "1",
      "null",
      " ",
    ]);
    if (kind === 0) result = result.slice(0, at) + piece + result.slice(at);
    else if (kind === 1) result = result.slice(0, at) + result.slice(at + 1 + random.next(4));
    else if (kind === 2) result = result.slice(0, at);
    else if (kind === 3) result = result.slice(0, at) + piece + result.slice(at + 1);
    else result += result.slice(random.next(at + 1), at);
  }
  return result;
}

/** Bytes changed in a few places. */
export function mutatedBytes(random: Random, bytes: Buffer): Buffer {
  let result = Buffer.from(bytes);
  for (let i = random.next(4); i >= 0; i--) {
    const at = random.next(result.length + 1);
    const kind = random.next(4);
    if (kind === 0 && at < result.length) result[at] = random.next(256);
    else if (kind === 1) result = result.subarray(0, at);
    else if (kind === 2) {
      result = Buffer.concat([result.subarray(0, at), randomBytes(random, 4), result.subarray(at)]);
    } else result = Buffer.concat([result.subarray(0, at), result.subarray(at + 1 + random.next(3))]);
  }
  return result;
}

export function randomBytes(random: Random, most: number): Buffer {
  return Buffer.from(random.times(most, () => random.next(256)));
}

/** Nesting too deep for recursion. */
export function deep(random: Random): string {
  const depth = 10 ** (2 + random.next(4));
  return random.chance(50)
    ? "[".repeat(depth) + "]".repeat(depth)
    : `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
}

import { isUtf8 } from "node:buffer";
import { isDeeper } from "../../hub/json/depth.ts";
import { lastElement, objectMembers } from "../../hub/json/members.ts";

/**
 * The wire formats of Phoenix Channels, as Phoenix 1.8's serializers V1 and V2 and npm `phoenix` 1.8 define them.
 * Pure functions between text or bytes and values. They do not throw.
 */

/** A client's reference, sent back unchanged; some clients send numbers. */
export type Ref = string | number | null;

/** A client's frame. Its payload is unchanged: JSON text, or the bytes of a binary push. */
export interface Frame {
  readonly joinRef: Ref;
  readonly ref: Ref;
  readonly topic: string;
  readonly event: string;
  readonly payload: string | Uint8Array;
}

/** Why a frame cannot be decoded; appended to "malformed frame: ". */
export interface Malformed {
  readonly malformed: string;
}

export type Status = "ok" | "error";

/** One version of the text format. `topic`, `event` and `payload` are JSON texts (`"system"` with its quotes). */
export interface Codec {
  readonly version: 1 | 2;
  decode(text: string): Frame | Malformed;
  /** A frame for one client. */
  push(joinRef: Ref, ref: Ref, topic: string, event: string, payload: string): string;
  /** The frame for all members, with both refs null: its text before and after the payload. */
  beforePayload(topic: string, event: string): string;
  readonly behindPayload: string;
}

/** The longest ref or join_ref, in bytes of UTF-8. */
const MAX_REF_BYTES = 64;

function malformed(what: string): Malformed {
  return { malformed: what };
}

function isRef(value: unknown): value is Ref {
  if (value === null || Number.isSafeInteger(value)) return true;
  return (
    typeof value === "string" && value.length <= MAX_REF_BYTES && Buffer.byteLength(value) <= MAX_REF_BYTES
  );
}

/** Levels of a client's frame; parsing deeper ones costs many times more than their length suggests. */
const MAX_DEPTH = 10_000;

function parse(text: string): unknown {
  if (text.length > MAX_DEPTH && isDeeper(text, MAX_DEPTH)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function frame(
  joinRef: unknown,
  ref: unknown,
  topic: unknown,
  event: unknown,
  payload: string,
): Frame | Malformed {
  if (!isRef(joinRef)) return malformed("join_ref is no string of at most 64 bytes, whole number or null");
  if (!isRef(ref)) return malformed("ref is no string of at most 64 bytes, whole number or null");
  if (typeof topic !== "string") return malformed("topic is no string");
  if (typeof event !== "string") return malformed("event is no string");
  return { joinRef, ref, topic, event, payload };
}

export const V2: Codec = {
  version: 2,
  decode(text) {
    const value = parse(text);
    if (value === undefined) return malformed("not JSON");
    if (!Array.isArray(value)) return malformed("not an array");
    if (value.length !== 5) return malformed("not five elements");
    const checked = frame(value[0], value[1], value[2], value[3], "");
    return "malformed" in checked ? checked : { ...checked, payload: lastElement(text, 4) };
  },
  push(joinRef, ref, topic, event, payload) {
    return `[${JSON.stringify(joinRef)},${JSON.stringify(ref)},${topic},${event},${payload}]`;
  },
  beforePayload(topic, event) {
    return `[null,null,${topic},${event},`;
  },
  behindPayload: "]",
};

export const V1: Codec = {
  version: 1,
  decode(text) {
    const value = parse(text);
    if (value === undefined) return malformed("not JSON");
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return malformed("not an object");
    const fields = new Map(Object.entries(value));
    const payload = objectMembers(text).findLast((member) => member.key === "payload");
    if (payload === undefined) return malformed("no payload");
    const joinRef = fields.get("join_ref") ?? null;
    const ref = fields.get("ref") ?? null;
    return frame(
      joinRef,
      ref,
      fields.get("topic"),
      fields.get("event"),
      text.slice(payload.valueStart, payload.end),
    );
  },
  push(_joinRef, ref, topic, event, payload) {
    return `{"topic":${topic},"event":${event},"payload":${payload},"ref":${JSON.stringify(ref)}}`;
  },
  beforePayload(topic, event) {
    return `{"topic":${topic},"event":${event},"payload":`;
  },
  behindPayload: ',"ref":null}',
};

const PUSH = 0;

/** Decodes a binary push: `0 | len join_ref | len ref | len topic | len event | join_ref | ref | topic | event | data`. */
export function decodeBinary(bytes: Uint8Array): Frame | Malformed {
  const [kind, joinRefSize = 0, refSize = 0, topicSize = 0, eventSize = 0] = bytes;
  if (kind === undefined || bytes.length < 5) return malformed("binary frame without a header");
  if (kind !== PUSH) return malformed(`binary frame of kind ${kind}`);
  const data = 5 + joinRefSize + refSize + topicSize + eventSize;
  if (bytes.length < data) return malformed("binary frame shorter than its header says");
  let at = 5;
  const field = (size: number): string | null => {
    const part = Buffer.from(bytes.buffer, bytes.byteOffset + at, size);
    at += size;
    return isUtf8(part) ? part.toString("utf8") : null;
  };
  const joinRef = field(joinRefSize);
  const ref = field(refSize);
  const topic = field(topicSize);
  const event = field(eventSize);
  if (joinRef === null || ref === null || topic === null || event === null) {
    return malformed("binary frame with a header that is not UTF-8");
  }
  if (!isRef(joinRef) || !isRef(ref)) return malformed("ref over 64 bytes");
  return { joinRef: joinRef || null, ref: ref || null, topic, event, payload: bytes.subarray(data) };
}

/**
 * Encodes a binary broadcast as a server push (kind 0), with an empty join_ref unless it is for one member: npm `phoenix`
 * handles it as kind 2, and Elixir's Slipstream knows only kinds 0 and 1. Topic and event have at most 255 bytes each.
 */
export function encodeBinary(topic: string, event: string, data: Uint8Array, joinRef = ""): Buffer {
  const joinRefSize = Buffer.byteLength(joinRef);
  const topicSize = Buffer.byteLength(topic);
  const eventSize = Buffer.byteLength(event);
  const frame = Buffer.allocUnsafe(4 + joinRefSize + topicSize + eventSize + data.length);
  frame[0] = PUSH;
  frame[1] = joinRefSize;
  frame[2] = topicSize;
  frame[3] = eventSize;
  frame.write(joinRef, 4);
  frame.write(topic, 4 + joinRefSize);
  frame.write(event, 4 + joinRefSize + topicSize);
  frame.set(data, 4 + joinRefSize + topicSize + eventSize);
  return frame;
}

/** A binary payload for clients that have no binary frames: a JSON string when it is UTF-8, else `{"base64":"..."}`. */
export function binaryAsJson(data: Buffer): string {
  if (isUtf8(data)) return JSON.stringify(data.toString("utf8"));
  return `{"base64":"${data.toString("base64")}"}`;
}

/**
 * The codec of the `vsn` parameter: `null` without one (the first frame decides), `undefined` for an unknown version. Phoenix
 * accepts `~> 1.0.0` and `~> 2.0.0`.
 */
export function vsnCodec(query: URLSearchParams): Codec | null | undefined {
  const vsn = query.get("vsn");
  if (vsn === null) return null;
  const version = /^([12])\.0\.\d+$/.exec(vsn)?.[1];
  if (version === undefined) return undefined;
  return version === "1" ? V1 : V2;
}

import { isAscii } from "node:buffer";
import { isJson } from "./json.ts";

/**
 * One message on its way to the members of a channel. Its payload is JSON text, unchanged since its sender wrote it, or
 * bytes. Made once for each message, however many hear it.
 */
export interface Message {
  readonly event: string;
  /** JSON text, or `null` where the payload is binary. */
  readonly json: string | null;
  /** The bytes of a binary payload; empty where the payload is JSON. */
  readonly bytes: Buffer;
  /** Bytes of the payload. */
  readonly size: number;
  /** `presence_state` and `presence_diff`: not for those whose token does not let them see who is there. */
  readonly presence: boolean;
}

const NO_BYTES = Buffer.alloc(0);

/** A message whose payload is JSON text. */
export function jsonMessage(event: string, json: string, presence = false): Message {
  return { event, json, bytes: NO_BYTES, size: Buffer.byteLength(json), presence };
}

/** A message as a backend published it: valid JSON text travels as text, everything else as bytes. */
export function decodeMessage(event: string, payload: Buffer): Message {
  const size = payload.length;
  if (!isJson(payload)) return { event, json: null, bytes: payload, size, presence: false };
  const json = payload.toString(isAscii(payload) ? "latin1" : "utf8");
  return { event, json, bytes: NO_BYTES, size, presence: false };
}

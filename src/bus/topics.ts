import { isUtf8 } from "node:buffer";

/**
 * The families of names on the bus. `to`, `from` and `push` are the contract with backends: `to:<channel>:<event>` for messages
 * to clients, `from:<channel>:<event>` for messages of clients, `push:<channel>:<event>` for the same with their sender,
 * `call:<channel>:<event>` for those that are answered on `reply:<ref>`. `hub` is what servers send each other: `hub:<kind>...`.
 * The configured `prefix` is not part of a name: the bus adds and removes it.
 */
export type Family = "to" | "from" | "push" | "call" | "reply" | "hub";

/** Bytes that a message between servers may have beside the payload of a client or backend. */
export const MAX_ENVELOPE_BYTES = 64 * 1024;

/** The longest channel name or event, in bytes of UTF-8: the binary frame of Phoenix has one byte for each length. */
export const MAX_NAME_BYTES = 255;

/** What a `to:` or `from:` name refers to; the event is what follows the last colon. */
export interface Topic {
  readonly channel: string;
  readonly event: string;
}

/** Events of the protocol itself. Clients, backends and API keys may not send them. */
export const RESERVED_EVENTS: ReadonlySet<string> = new Set([
  "phx_join",
  "phx_leave",
  "phx_reply",
  "phx_close",
  "phx_error",
  "heartbeat",
  "presence_state",
  "presence_diff",
]);

/** Parses `to:<channel>:<event>`. `null` without a second colon, with an empty channel or event, or if not UTF-8. */
export function parseTo(name: Buffer): Topic | null {
  return parse("to:", name);
}

/** Parses `from:<channel>:<event>`, by the same rules. */
export function parseFrom(name: Buffer): Topic | null {
  return parse("from:", name);
}

function parse(start: string, name: Buffer): Topic | null {
  if (!isUtf8(name)) return null;
  const text = name.toString("utf8");
  if (!text.startsWith(start)) return null;
  const colon = text.lastIndexOf(":");
  if (colon <= start.length || colon === text.length - 1) return null;
  return { channel: text.slice(start.length, colon), event: text.slice(colon + 1) };
}

/** The name for a message from a backend to the members of a channel. */
export function printTo(channel: string, event: string): string {
  return `to:${channel}:${event}`;
}

/** The name for a message from a client of a channel to backends. */
export function printFrom(channel: string, event: string): string {
  return `from:${channel}:${event}`;
}

/** The name for a message from a client of a channel to backends, in an envelope that names its sender. */
export function printPush(channel: string, event: string): string {
  return `push:${channel}:${event}`;
}

/** The name for a client's message that one of the subscribed backends answers. */
export function printCall(channel: string, event: string): string {
  return `call:${channel}:${event}`;
}

/** The list in which calls wait for backends. */
export function printQueue(name: string): string {
  return `queue:${name}`;
}

/** The longest name of an answer, in bytes. */
const MAX_REPLY_NAME = 128;

/** Parses `reply:<incarnation>.<random>`; `null` for any other name. */
export function parseReply(name: Buffer): { readonly ref: string; readonly incarnation: string } | null {
  if (name.length > MAX_REPLY_NAME) return null;
  const ref = name.toString("latin1", "reply:".length);
  const dot = ref.indexOf(".");
  return dot < 0 ? null : { ref, incarnation: ref.slice(0, dot) };
}

/** The name for a message between servers. `kind` has letters, digits, hyphens and colons only. */
export function printHub(kind: string): string {
  return `hub:${kind}`;
}

/**
 * Whether a `to:` name is one that servers export for backends: `presence_diff` on any channel, `channel.*` on `admin`.
 * A server that receives one ignores it.
 */
export function isExport({ channel, event }: Topic): boolean {
  return event === "presence_diff" || (channel === "admin" && event.startsWith("channel."));
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** Whether a text may name a channel: 1 to 255 bytes of UTF-8, well-formed, no control character. */
export function isChannelName(text: string): boolean {
  return isName(text);
}

/** Whether a text may name an event: as a channel, but without a colon. */
export function isEventName(text: string): boolean {
  return isName(text) && !text.includes(":");
}

function isName(text: string): boolean {
  const { length } = text;
  if (length === 0 || length > MAX_NAME_BYTES || CONTROL.test(text) || !text.isWellFormed()) return false;
  return length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(text) <= MAX_NAME_BYTES;
}

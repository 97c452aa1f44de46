import { isObject, type JsonObject } from "../../auth/json-object.ts";
import { isChannelName } from "../../bus/topics.ts";
import type { Meta } from "./presence-store.ts";

/** The changes of one channel that one server publishes. */
export interface ChannelChange {
  readonly channel: string;
  readonly joins: readonly Meta[];
  /** Refs of metas that are gone. */
  readonly leaves: readonly string[];
}

/** How many members a server has in a channel; 0: it has none any more. */
export interface CountChange {
  readonly channel: string;
  readonly members: number;
}

/** An event of the `admin` channel that one server publishes for all. */
export interface AdminNotice {
  readonly event: string;
  readonly payload: string;
}

/** A message on `hub:presence`. Each field but `from` and `seq` may be missing. */
export interface PresenceMessage {
  /** The sender's incarnation. */
  readonly from: string;
  /** The number of the sender's last message with changes: this one, if it has any. */
  readonly seq: number;
  readonly changes: readonly ChannelChange[];
  readonly counts: readonly CountChange[];
  readonly notices: readonly AdminNotice[];
  /** The sender has just subscribed: all others send their number. */
  readonly hello: boolean;
  /** The sender stops: its entries are kept for those who come back to another server. */
  readonly parting: boolean;
  /** Asks the server `to` whether it still has these refs. */
  readonly question: { readonly to: string; readonly channels: readonly ChannelChange[] } | null;
}

/** A meta as JSON: user, ref, Unix time in ms, metadata, the ref before. */
export function encodeMeta({ user, ref, onlineAt, info, previous }: Meta): string {
  const start = `[${JSON.stringify(user)},"${ref}",${onlineAt}`;
  if (previous !== undefined) return `${start},${JSON.stringify(info ?? "")},"${previous}"]`;
  return info === undefined || info === "" ? `${start}]` : `${start},${JSON.stringify(info)}]`;
}

/** The stored value of a meta, by the same rules. `null` if it is none. */
export function decodeEntry(text: string): Meta | null {
  return readMeta(parsed(text));
}

/** A message; `fields`: further members of a JSON object. */
export function encodeMessage(from: string, seq: number, fields: string): string {
  return `${startOf(from)},"n":${seq}${fields === "" ? "" : `,${fields}`}}`;
}

/** Whether a message is of this sender: a server receives its own messages too, and need not read them. */
export function isFrom(body: Buffer, incarnation: string): boolean {
  const start = startOf(incarnation);
  return body.toString("latin1", 0, start.length) === start;
}

function startOf(from: string): string {
  return `{"i":"${from}"`;
}

/** Reads a message; `null` if it is none. Signed messages only: what is malformed comes from another version. */
export function decodeMessage(body: Buffer): PresenceMessage | null {
  const value = parsed(body.toString("utf8"));
  if (!isObject(value)) return null;
  const { i: from, n: seq } = value;
  if (typeof from !== "string" || typeof seq !== "number") return null;
  return {
    from,
    seq,
    changes: readChanges(value.c),
    counts: list(value.m).flatMap(readCount),
    notices: list(value.a).flatMap(readNotice),
    hello: value.hello === true,
    parting: value.parting === true,
    question: readQuestion(value),
  };
}

function readQuestion({ to, q }: JsonObject): PresenceMessage["question"] {
  return typeof to === "string" ? { to, channels: readChanges(q) } : null;
}

function readChanges(value: unknown): ChannelChange[] {
  return list(value).flatMap((each) => {
    const [channel, joins, leaves]: unknown[] = list(each);
    if (typeof channel !== "string" || !isChannelName(channel)) return [];
    const metas = list(joins).flatMap((one) => readMeta(one) ?? []);
    return [{ channel, joins: metas, leaves: list(leaves).filter(isText) }];
  });
}

function readCount(value: unknown): CountChange[] {
  const [channel, members]: unknown[] = list(value);
  return typeof channel === "string" && typeof members === "number" ? [{ channel, members }] : [];
}

function readNotice(value: unknown): AdminNotice[] {
  const [event, payload]: unknown[] = list(value);
  return isText(event) && isText(payload) ? [{ event, payload }] : [];
}

function readMeta(value: unknown): Meta | null {
  const [user, ref, onlineAt, info, previous]: unknown[] = list(value);
  if (!isText(user) || !isText(ref) || typeof onlineAt !== "number") return null;
  return {
    user,
    ref,
    onlineAt,
    ...(isText(info) && info !== "" ? { info } : {}),
    ...(isText(previous) ? { previous } : {}),
  };
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

import { isObject } from "../../auth/json-object.ts";
import { isChannelName } from "../../bus/topics.ts";
import { isDeeper } from "../../hub/json/depth.ts";

/**
 * The frames of event groups, as AWX (Ansible Tower) pages and awxkit send and expect them. Pure: text in, values out.
 */

/** One pair of group and entry: channel and event. */
export interface Subscription {
  readonly group: string;
  readonly entry: string;
}

/** Distinct entries by group, in the order of their first mention; no group is empty. */
export type Subscriptions = Map<string, ReadonlySet<string>>;

/** The subscriptions that a client asks for, in place of its present ones. */
export interface Wanted {
  readonly wanted: Subscriptions;
  /** Pairs with an invalid name, cut to a length that may be shown. */
  readonly impossible: readonly Subscription[];
  /** The value of the `csrftoken` cookie, as the client sent it. */
  readonly xrftoken: string | null;
}

/** Why a whole message is refused: the text of `error`. */
export interface Refused {
  readonly error: string;
}

export const DENIED = "access denied to channel";

/** An entry has 1 to 255 characters, no control character, and no colon: no event has one. */
const ENTRY = /^[^\u0000-\u001f\u007f-\u009f:]{1,255}$/u;

/** Characters of an invalid name that are shown to its sender. */
const SHOWN = 255;

/** The name in frames. Two different pairs may have the same. */
export function dashed(group: string, entry: string): string {
  return `${group}-${entry}`;
}

/** Decodes a client's message. One with more than `most` pairs is refused. */
export function decode(text: string, most: number): Wanted | Refused {
  const value = parse(text);
  if (value === undefined) return { error: "not JSON" };
  if (typeof value !== "object" || value === null || !("groups" in value)) return { error: "no groups" };
  const { groups } = value;
  if (!isObject(groups)) return { error: "groups is no object" };
  const wanted = new Map<string, Set<string>>();
  const impossible: Subscription[] = [];
  let count = 0;
  for (const group of Object.keys(groups)) {
    const given = groups[group];
    if (!Array.isArray(given)) return { error: DENIED };
    const named = isChannelName(group);
    const entries = new Set<string>();
    for (const each of given) {
      const entry = named ? entryOf(each) : null;
      if (entry === null) impossible.push({ group: group.slice(0, SHOWN), entry: shown(each) });
      else entries.add(entry);
      if (count + entries.size + impossible.length > most)
        return { error: `more than ${most} subscriptions` };
    }
    count += entries.size;
    if (entries.size > 0) wanted.set(group, entries);
  }
  const xrftoken = "xrftoken" in value && typeof value.xrftoken === "string" ? value.xrftoken : null;
  return { wanted, impossible, xrftoken };
}

function parse(text: string): unknown {
  if (isDeeper(text, MAX_DEPTH)) return undefined;
  try {
    return LONG_INTEGER.test(text) && text.length <= EXACT ? JSON.parse(text, exactly) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A message has three levels; unknown fields may have some more. */
const MAX_DEPTH = 64;

/** Integers with this many digits may be more than a number can hold. */
const LONG_INTEGER = /\d{16}/;

/** Length (UTF-16 units) up to which long integers are read exactly, which takes ten times as long; in longer texts they are refused. */
const EXACT = 64 * 1024;

/** A reviver: an integer that a number cannot hold stays text. */
function exactly(_key: string, value: unknown, { source = "" }: { source?: string } = {}): unknown {
  return typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? source : value;
}

/** An entry as text; `null` if it is invalid. */
function entryOf(given: unknown): string | null {
  if (typeof given === "string") return ENTRY.test(given) && given.isWellFormed() ? given : null;
  return Number.isSafeInteger(given) ? String(given) : null;
}

/** An invalid entry as an error shows it. Containers are not printed: they may be nested deeply. */
function shown(given: unknown): string {
  if (typeof given === "object" && given !== null) return Array.isArray(given) ? "[...]" : "{...}";
  return String(given).slice(0, SHOWN);
}

/** @param user absent until the page has sent its xrftoken */
export function accepted(user?: string): string {
  return JSON.stringify({ accept: true, user });
}

export const CLOSED = JSON.stringify({ accept: false, close: true });

export function refused(error: string): string {
  return JSON.stringify({ error });
}

export function denied(group: string, entry: string): string {
  return refused(`${DENIED} ${group} for resource id ${entry}`);
}

/** The changes by one message, in dashed names. */
export interface Changed {
  readonly current: readonly string[];
  readonly left: readonly string[];
  readonly joined: readonly string[];
}

export function changed({ current, left, joined }: Changed): string {
  return JSON.stringify({ groups_current: current, groups_left: left, groups_joined: joined });
}

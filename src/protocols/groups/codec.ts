import { isChannelName } from "../../bus/bus.ts";

/**
 * The frames of event groups, as AWX (Ansible Tower) pages and awxkit send and expect them. Pure: text in, values out.
 */

/** One pair of group and entry: channel and event. */
export interface Subscription {
  readonly group: string;
  readonly entry: string;
}

/** What a client wants to hear from now on. */
export interface Wanted {
  readonly wanted: readonly Subscription[];
  /** Pairs that can't be: nothing of that name could ever be heard. */
  readonly impossible: readonly Subscription[];
  /** What the client repeats of its `csrftoken` cookie. */
  readonly xrftoken: string | null;
}

/** Why a message is refused whole: the text of `error`. */
export interface Refused {
  readonly error: string;
}

export const DENIED = "access denied to channel";

/** An entry has 1 to 255 characters, no control character, and no colon: no event has one. */
const ENTRY = /^[^\u0000-\u001f\u007f-\u009f:]{1,255}$/u;

/** The name that people see. Two different pairs may have the same. */
export function dashed({ group, entry }: Subscription): string {
  return `${group}-${entry}`;
}

/** A key that two different pairs never share: no name holds the separator. */
export function keyOf({ group, entry }: Subscription): string {
  return `${group}\u0000${entry}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads a client's message. Each pair comes once, in the order in which it was named first. */
export function decode(text: string, most: number): Wanted | Refused {
  const value = parse(text);
  if (value === undefined) return { error: "not JSON" };
  if (typeof value !== "object" || value === null || !("groups" in value)) return { error: "no groups" };
  const { groups } = value;
  if (typeof groups !== "object" || groups === null || Array.isArray(groups))
    return { error: "groups is no object" };
  const wanted = new Map<string, Subscription>();
  const impossible: Subscription[] = [];
  for (const [group, entries] of Object.entries(groups)) {
    if (!Array.isArray(entries)) return { error: DENIED };
    for (const given of entries) {
      const subscription = { group, entry: shown(given) };
      if (!isChannelName(group) || !isEntry(given)) impossible.push(subscription);
      else wanted.set(keyOf(subscription), subscription);
      if (wanted.size + impossible.length > most) return { error: `more than ${most} subscriptions` };
    }
  }
  const xrftoken = "xrftoken" in value && typeof value.xrftoken === "string" ? value.xrftoken : null;
  return { wanted: [...wanted.values()], impossible, xrftoken };
}

function isEntry(given: unknown): boolean {
  if (typeof given === "string") return ENTRY.test(given) && given.isWellFormed();
  return Number.isSafeInteger(given);
}

/** An entry as it stands in names and errors; what could be no entry is cut short. */
function shown(given: unknown): string {
  if (typeof given === "string") return given.slice(0, 255);
  return (JSON.stringify(given) ?? "").slice(0, 80);
}

export function accepted(user: string): string {
  return JSON.stringify({ accept: true, user });
}

export const CLOSED = JSON.stringify({ accept: false, close: true });

export function refused(error: string): string {
  return JSON.stringify({ error });
}

export function denied({ group, entry }: Subscription): string {
  return refused(`${DENIED} ${group} for resource id ${entry}`);
}

/** What a message changed. */
export interface Changed {
  readonly current: readonly Subscription[];
  readonly left: readonly Subscription[];
  readonly joined: readonly Subscription[];
}

export function changed({ current, left, joined }: Changed): string {
  return JSON.stringify({
    groups_current: current.map(dashed),
    groups_left: left.map(dashed),
    groups_joined: joined.map(dashed),
  });
}

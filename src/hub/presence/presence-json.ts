import type { Meta } from "./presence-store.ts";

/** A JSON object with one more entry. The object is not parsed. */
export function withEntry(object: string, entry: string): string {
  return object === "{}" ? `{${entry}}` : `${object.slice(0, -1)},${entry}}`;
}

/**
 * The same text in one piece. A text that grew by concatenation refers to all of its parts, which take several times its
 * memory, until native code reads it; the compiler leaves out a read whose result is not used.
 */
export function flattened(text: string): string {
  return Buffer.byteLength(text) === 0 ? "" : text;
}

/** A user's memberships by user, as a JSON object. */
export function encodeUsers(users: ReadonlyMap<string, Meta | readonly Meta[]>): string {
  const entries: string[] = [];
  for (const [user, metas] of users) entries.push(encodeUser(user, isList(metas) ? metas : [metas]));
  return `{${entries.join(",")}}`;
}

/** The same for metas of any users. */
export function encodeMetas(metas: Iterable<Meta>): string {
  const users = new Map<string, Meta[]>();
  for (const meta of metas) {
    const known = users.get(meta.user);
    if (known === undefined) users.set(meta.user, [meta]);
    else known.push(meta);
  }
  return encodeUsers(users);
}

/** One entry of that object: `"<user>":{"metas":[...]}`. */
export function encodeUser(user: string, metas: readonly Meta[]): string {
  let text = "";
  for (const meta of metas) text += text === "" ? encodeMeta(meta) : `,${encodeMeta(meta)}`;
  return `${JSON.stringify(user)}:{"metas":[${text}]}`;
}

function encodeMeta({ ref, onlineAt, info, previous }: Meta): string {
  const before = previous === undefined ? "" : `,"phx_ref_prev":"${previous}"`;
  const more = info === undefined || info === "" ? "" : `,${info}`;
  return `{"phx_ref":"${ref}"${before},"online_at":"${onlineAt}"${more}}`;
}

function isList(metas: Meta | readonly Meta[]): metas is readonly Meta[] {
  return Array.isArray(metas);
}

import { objectMembers } from "../json/members.ts";
import type { Meta } from "./presence-store.ts";

/** Maximum length of the metadata of one member, as JSON text, in bytes. */
export const MAX_INFO_BYTES = 1024;

/** Set by the server. */
const RESERVED: ReadonlySet<string> = new Set(["phx_ref", "phx_ref_prev", "online_at"]);

/**
 * Metadata from a client: the members of the JSON object `text`, without its braces and without those that the server
 * sets. `null` if it is no object or too long. `text` must be valid JSON.
 */
export function parseInfo(text: string): string | null {
  if (!text.trimStart().startsWith("{")) return null;
  if (text.length > MAX_INFO_BYTES || Buffer.byteLength(text) > MAX_INFO_BYTES) return null;
  return objectMembers(text)
    .filter(({ key }) => !RESERVED.has(key))
    .map(({ start, end }) => text.slice(start, end))
    .join(",");
}

/** The metadata in the payload of a join: its member `presence`. Empty without one; `null` if it is invalid. */
export function infoOfJoin(payload: string): string | null {
  if (!payload.includes('"presence"') || !payload.startsWith("{")) return "";
  const member = objectMembers(payload).findLast(({ key }) => key === "presence");
  return member === undefined ? "" : parseInfo(payload.slice(member.valueStart, member.end));
}

/**
 * The meta that replaces `meta`: `ref` is a new one.
 * @param original the first meta of the membership; its ref is the start of all later ones
 */
export function nextMeta(original: Meta, meta: Meta, info: string): Meta {
  const revision = meta.ref === original.ref ? 0 : Number(meta.ref.slice(original.ref.length + 1));
  const { user, onlineAt } = original;
  return { user, ref: `${original.ref}.${revision + 1}`, onlineAt, info, previous: meta.ref };
}

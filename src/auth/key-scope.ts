import type { Caller } from "./admin.ts";
import { nameCovers } from "./claims.ts";

/** Whether what a caller may do covers a channel. A key's pattern never covers `admin`: only its own name does. */
export function reaches(caller: Caller, channel: string): boolean {
  if (caller.kind === "administrator") return true;
  const { channels } = caller.key;
  if (channel === "admin") return channels.includes("admin");
  return channels.some((name) => nameCovers(name, channel));
}

/** Whether it covers every channel: what tells of all of them is for these only. */
export function reachesAll(caller: Caller): boolean {
  return caller.kind === "administrator" || caller.key.channels.includes("*");
}

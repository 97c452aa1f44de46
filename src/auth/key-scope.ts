import { nameCovers } from "./claims.ts";
import type { Principal } from "./principal.ts";

/** Whether a principal has access to a channel. A key's pattern never covers `admin`: only the exact name does. */
export function reaches(principal: Principal, channel: string): boolean {
  if (principal.kind === "administrator") return true;
  const { channels } = principal.key;
  if (channel === "admin") return channels.includes("admin");
  return channels.some((name) => nameCovers(name, channel));
}

/** Whether a principal has access to all channels, as operations on the whole server require. */
export function reachesAll(principal: Principal): boolean {
  return principal.kind === "administrator" || principal.key.channels.includes("*");
}

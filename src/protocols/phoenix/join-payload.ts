import { withoutMember } from "../../hub/json/members.ts";
import { infoOfJoin } from "../../hub/presence/presence-info.ts";
import type { Frame } from "./phoenix-codec.ts";

/** The metadata for presence in a join; `null` if it is none. */
export function infoIn({ payload }: Frame): string | null {
  return typeof payload === "string" ? infoOfJoin(payload) : "";
}

/** The token in a payload; `null` without one. */
export function tokenIn(payload: string | Uint8Array): string | null {
  if (typeof payload !== "string") return null;
  const value: unknown = JSON.parse(payload);
  if (typeof value !== "object" || value === null || !("token" in value)) return null;
  return typeof value.token === "string" ? value.token : null;
}

/** The payload of a join or leave for backends, without its token: no token goes through Redis. */
export function withoutToken(payload: string | Uint8Array): string {
  if (typeof payload !== "string") return "{}";
  return payload.startsWith("{") ? withoutMember(payload, "token") : payload;
}

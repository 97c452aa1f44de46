import { isUserId } from "../auth/claims.ts";
import type { Abilities } from "../auth/claims-types.ts";
import { isObject, type JsonObject, ownValue } from "../auth/json-object.ts";
import { objectMembers } from "../hub/json/members.ts";
import { parseInfo } from "../hub/presence/presence-info.ts";
import type { HookAnswer } from "./hook-client.ts";

/** Characters of a reason that the client gets. */
const MAX_REASON = 256;

/** What the application allows one connection in one channel. */
export interface Permission {
  /** `null`: the application names no user. */
  readonly user: string | null;
  readonly can: Abilities;
  /** Metadata for presence, as in `Meta`; `null`: that of the join counts. */
  readonly info: string | null;
  /** ms; `null`: as long as the connection lasts. */
  readonly expiresIn: number | null;
}

export type AuthorizeAnswer =
  | { readonly kind: "allowed"; readonly permission: Permission }
  /** `reason` is text for the client. */
  | { readonly kind: "denied"; readonly reason: string | null }
  /** `cause` is text of this program, for the log. */
  | { readonly kind: "unavailable"; readonly cause: string };

/** A field of an answer that is not as it must be. */
const WRONG = Symbol("wrong");

/** Reads the answer to a request for authorization. What is not exactly as it must be allows nothing. */
export function readAuthorizeAnswer({ status, body }: HookAnswer): AuthorizeAnswer {
  if (status !== 200) return unavailable(`status ${status}`);
  const answer = parse(body);
  if (!isObject(answer)) return unavailable("not a JSON object");
  const allow = ownValue(answer, "allow");
  if (typeof allow !== "boolean") return unavailable("allow is no boolean");
  const user = readId(answer);
  const can = readCan(answer);
  const info = readPresence(answer, body);
  const expiresIn = readExpiry(answer);
  const reason = ownValue(answer, "reason");
  if (user === WRONG) return unavailable("id is no valid user id");
  if (can === WRONG) return unavailable("can is no list of texts");
  if (info === WRONG) return unavailable("presence is no JSON object of at most 1 KiB");
  if (expiresIn === WRONG) return unavailable("expires_in is no number of seconds above 0");
  if (reason !== undefined && typeof reason !== "string") return unavailable("reason is no text");
  if (allow) return { kind: "allowed", permission: { user, can, info, expiresIn } };
  return { kind: "denied", reason: reason ? reason.slice(0, MAX_REASON).toWellFormed() : null };
}

function unavailable(cause: string): AuthorizeAnswer {
  return { kind: "unavailable", cause };
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function readId(answer: JsonObject): string | null | typeof WRONG {
  const id = ownValue(answer, "id");
  if (id === undefined) return null;
  return typeof id === "string" && isUserId(id) ? id : WRONG;
}

/** As the claim `can` of a token. */
function readCan(answer: JsonObject): Abilities | typeof WRONG {
  const can = ownValue(answer, "can");
  if (can === undefined) return { join: true, push: true, presence: true };
  if (!Array.isArray(can) || !can.every((one) => typeof one === "string")) return WRONG;
  return { join: can.includes("join"), push: can.includes("push"), presence: can.includes("presence") };
}

/** The text of `presence`, so that it is passed on unchanged. */
function readPresence(answer: JsonObject, body: string): string | null | typeof WRONG {
  const presence = ownValue(answer, "presence");
  if (presence === undefined) return null;
  if (!isObject(presence)) return WRONG;
  // Of a key that occurs twice JSON.parse takes the last one.
  const member = objectMembers(body).findLast(({ key }) => key === "presence");
  return (member && parseInfo(body.slice(member.valueStart, member.end))) ?? WRONG;
}

function readExpiry(answer: JsonObject): number | null | typeof WRONG {
  const seconds = ownValue(answer, "expires_in");
  if (seconds === undefined) return null;
  return typeof seconds === "number" && Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : WRONG;
}

import { abilitiesIn } from "../auth/claims.ts";
import type { Verdict } from "../auth/claims-types.ts";
import type { JoinCode } from "../auth/token-codes.ts";

/** A token that is refused for these codes settles a join: the application is not asked. */
const FINAL_CODES: ReadonlySet<JoinCode> = new Set([
  "user_banned",
  "token_revoked",
  "session_over",
  "too_many_attempts",
]);

/** Whether a token decides on a join, for or against it. */
export function settlesJoin(verdict: Verdict, channel: string): boolean {
  return verdict.ok ? abilitiesIn(verdict.claims, channel) !== null : FINAL_CODES.has(verdict.code);
}

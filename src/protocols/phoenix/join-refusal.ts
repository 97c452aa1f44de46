import type { Verdict } from "../../auth/claims-types.ts";
import { DISCLOSED_CODES, type JoinCode } from "../../auth/token-codes.ts";
import type { Decision } from "../../hooks/authorizer.ts";

/** Why a join is refused. */
export interface JoinRefusal {
  readonly ok: false;
  /** For the client. */
  readonly reason: string;
  readonly code: JoinCode;
  /** Details for the log. */
  readonly cause?: string;
}

/** The application could not be asked, or has not answered as it must. */
export function unavailable(cause: string): JoinRefusal {
  return { ok: false, reason: "authorization unavailable", code: "authorization_unavailable", cause };
}

/** @param verdict on the token that the join had */
export function refusalOf(decision: Exclude<Decision, { kind: "allowed" }>, verdict: Verdict): JoinRefusal {
  if (decision.kind === "unavailable") return unavailable(decision.cause);
  if (decision.kind === "not its own")
    return { ok: false, reason: "unauthorized", code: "channel_not_covered" };
  // The client may come with a new token.
  if (decision.reason === null && !verdict.ok && verdict.code === "token_expired") return verdict;
  return { ok: false, reason: decision.reason ?? "unauthorized", code: "authorization_denied" };
}

/** Details for the log. */
export function refusalCause({ cause }: JoinRefusal): string | undefined {
  return cause;
}

/** The response to a join or push that is refused, as JSON. */
export function refusalText(reason: string, code: JoinCode | null): string {
  return reason === "unauthorized" && code !== null && DISCLOSED_CODES.has(code)
    ? `{"reason":"${reason}","code":"${code}"}`
    : `{"reason":${JSON.stringify(reason)}}`;
}

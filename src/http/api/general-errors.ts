import { FOREIGN, NOT_SIGNED_IN, tooManyAttempts, WRONG_KEY, WRONG_SECRET } from "../../auth/admin.ts";
import { Rejection } from "../../auth/rejection.ts";
import { bodyRejection, NOT_JSON } from "../body.ts";
import type { Operation } from "./operation.ts";
import { ADMIN_ONLY, abilityMissing } from "./scope-rejections.ts";

/** Seconds to wait, and bytes of a body, in the examples. */
const WAIT_SECS = 2;
const MAX_BODY = 1 << 20;

/** What is wrong with a request, and where. */
const FIELD = "channel";
const FAULT = "must be a channel name";

export const INVALID_REQUEST = new Rejection(422, "invalid_request", `${FIELD}: ${FAULT}.`);

/** What a body is rejected with before it is validated. */
export const BODY_ERRORS: readonly Rejection[] = [
  NOT_JSON,
  bodyRejection("too slow", MAX_BODY),
  bodyRejection("too large", MAX_BODY),
  bodyRejection("full", MAX_BODY),
];

/** What a request without the administrator's secret, or an accepted key, is rejected with. */
export const CREDENTIAL_ERRORS: readonly Rejection[] = [
  NOT_SIGNED_IN,
  WRONG_SECRET,
  WRONG_KEY,
  tooManyAttempts(WAIT_SECS),
];

/** What an operation rejects requests with for what it has in common with others. */
export function generalErrors({ method, needs, params, query, body }: Operation): readonly Rejection[] {
  const hasInput = params !== undefined || query !== undefined || body !== undefined;
  return [
    ...CREDENTIAL_ERRORS,
    needs === "admin" ? ADMIN_ONLY : abilityMissing(needs),
    ...(method === "GET" ? [] : [FOREIGN]),
    ...(hasInput ? [INVALID_REQUEST] : []),
    ...(body === undefined ? [] : BODY_ERRORS),
  ];
}

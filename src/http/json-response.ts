import type { Rejection } from "../auth/rejection.ts";

/** An answer in JSON, which no cache keeps. */
export function json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json(value, { status, headers: { "cache-control": "no-store", ...headers } });
}

/** Why something was not done, in the one form that all errors have: `{"error": sentence, "code": code}`. */
export function reject(rejection: Rejection, headers: Readonly<Record<string, string>> = {}): Response {
  const { status, code, reason, retryAfterSecs } = rejection;
  return json({ error: reason, code }, status, {
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    // What comes of a body that is given up is not wanted.
    ...(status === 408 ? { connection: "close" } : {}),
    ...(retryAfterSecs === undefined ? {} : { "retry-after": String(retryAfterSecs) }),
    ...headers,
  });
}

import type { Rejection } from "../auth/rejection.ts";

/** A JSON response that caches do not store. */
export function json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json(value, { status, headers: { "cache-control": "no-store", ...headers } });
}

/** The response for a rejection: `{"error": reason, "code": code}`. */
export function reject(rejection: Rejection, headers: Readonly<Record<string, string>> = {}): Response {
  const { status, code, reason, retryAfterSecs } = rejection;
  return json({ error: reason, code }, status, {
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    // The rest of an incomplete body is not read.
    ...(status === 408 ? { connection: "close" } : {}),
    ...(retryAfterSecs === undefined ? {} : { "retry-after": String(retryAfterSecs) }),
    ...headers,
  });
}

import type { HttpCode } from "../error-codes.ts";

/** An answer in JSON, which no cache keeps. */
export function json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json(value, { status, headers: { "cache-control": "no-store", ...headers } });
}

/** Why something was not done. */
export interface HttpRefusal {
  readonly status: number;
  readonly code: HttpCode;
  /** For whoever asked. */
  readonly sentence: string;
  /** How long to wait, in seconds. */
  readonly retryAfterSecs?: number;
}

/** Why something was not done, in the one form that all errors have: `{"error": sentence, "code": code}`. */
export function refuse(refusal: HttpRefusal, headers: Readonly<Record<string, string>> = {}): Response {
  const { status, code, sentence, retryAfterSecs } = refusal;
  return json({ error: sentence, code }, status, {
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    // What comes of a body that is given up is not wanted.
    ...(status === 408 ? { connection: "close" } : {}),
    ...(retryAfterSecs === undefined ? {} : { "retry-after": String(retryAfterSecs) }),
    ...headers,
  });
}

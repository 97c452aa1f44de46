import type { Rejection } from "../../auth/rejection.ts";

/** An answer with a JSON body, unless its headers say otherwise. */
export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export function ok(body: unknown): Reply {
  return { status: 200, body };
}

/** The problems of a body, in Channelstream's words. */
export function invalid(problems: unknown): Reply {
  return { status: 422, body: problems };
}

/** An error that Channelstream itself does not have, in the form of all other errors of this server. */
export function rejected(rejection: Rejection, headers: Readonly<Record<string, string>> = {}): Reply {
  const { status, code, reason, retryAfterSecs } = rejection;
  const wait = retryAfterSecs === undefined ? {} : { "retry-after": String(retryAfterSecs) };
  return { status, body: { error: reason, code }, headers: { ...wait, ...headers } };
}

export const BAD_SIGNATURE: Reply = { status: 401, body: { request: "Bad Signature" } };

export const FORBIDDEN = page("403 Forbidden", "Access was denied to this resource.");
export const UNKNOWN_LISTENER = page(
  "401 Unauthorized",
  "This server could not verify that you are authorized to access the document you requested.  Either you supplied " +
    "the wrong credentials (e.g., bad password), or your browser does not understand how to supply the " +
    "credentials required.",
);
export const HTTPS_ONLY: Reply = {
  status: 406,
  body: { message: "\n\n\nSSL is required\n\n", code: "406 Not Acceptable", title: "Not Acceptable" },
};

/** Errors of Pyramid itself, in its JSON form. */
function page(code: string, text: string): Reply {
  const message = `${text}\n\n\n\n\n`;
  return { status: Number(code.slice(0, 3)), body: { message, code, title: code.slice(4) } };
}

export function toResponse({ status, body, headers = {} }: Reply): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

import type { HttpCode } from "../error-codes.ts";
import type { Inbound, ReadFault } from "../hub/inbound-budget.ts";

/** Why a body was not taken. */
export interface BodyRefusal {
  readonly status: 400 | 408 | 413 | 503;
  readonly code: HttpCode;
  readonly sentence: string;
}

/** What a request's body said, or why it was not read to its end. */
export type Body =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly refusal: BodyRefusal };

export type TextBody = { readonly ok: true; readonly text: string } | (Body & { readonly ok: false });

const NOT_JSON: Body & { readonly ok: false } = {
  ok: false,
  refusal: { status: 400, code: "not_json", sentence: "The body is not JSON." },
};

/**
 * Reads a body of JSON, whatever content type it claims; no more than `limit` bytes of it. Never rejects.
 * @param parse throws where the text is no JSON
 */
export async function readJson(
  request: Request,
  limit: number,
  inbound: Inbound,
  parse: (text: string) => unknown = JSON.parse,
): Promise<Body> {
  const read = await readText(request, limit, inbound);
  if (!read.ok) return read;
  try {
    return { ok: true, value: parse(read.text) };
  } catch {
    return NOT_JSON;
  }
}

/** The same, before anybody parses it. */
export async function readText(request: Request, limit: number, inbound: Inbound): Promise<TextBody> {
  const read = await inbound.read(request, limit, null);
  if (!read.ok) return { ok: false, refusal: refusalOf(read.fault, limit) };
  try {
    return { ok: true, text: new TextDecoder("utf-8", { fatal: true }).decode(read.bytes) };
  } catch {
    return NOT_JSON;
  } finally {
    read.release();
  }
}

function refusalOf(fault: ReadFault, limit: number): BodyRefusal {
  switch (fault) {
    case "too large":
      return {
        status: 413,
        code: "body_too_large",
        sentence: `A body of more than ${limit} bytes is not taken (limits.max_body).`,
      };
    case "too slow":
      return {
        status: 408,
        code: "body_too_slow",
        sentence: "The body was not complete in time (limits.frame_timeout).",
      };
    case "broken":
      return NOT_JSON.refusal;
    default:
      return {
        status: 503,
        code: "too_much_inbound",
        sentence: "The server is reading as much as it may (limits.max_inbound): try again later.",
      };
  }
}

import { Rejection } from "../auth/rejection.ts";
import type { InboundBudget, ReadFault } from "../hub/inbound-budget.ts";

/** A body as `parse` returned it. */
export type Body = { readonly ok: true; readonly value: unknown } | Rejection;

export type TextBody = { readonly ok: true; readonly text: string } | Rejection;

export const NOT_JSON = new Rejection(400, "not_json", "The body is not JSON.");

/**
 * Reads a JSON body of at most `limit` bytes, whatever its content type. Never throws.
 *
 * @param parse throws if the text is not JSON
 */
export async function readJson(
  request: Request,
  limit: number,
  inbound: InboundBudget,
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

/**
 * The same with a parser of bytes.
 *
 * @param parse throws if they are not JSON in UTF-8
 */
export async function readParsed(
  request: Request,
  limit: number,
  inbound: InboundBudget,
  parse: (bytes: Uint8Array) => unknown,
): Promise<Body> {
  const read = await inbound.read(request, limit, null);
  if (!read.ok) return bodyRejection(read.fault, limit);
  try {
    return { ok: true, value: parse(read.bytes) };
  } catch {
    return NOT_JSON;
  } finally {
    read.release();
  }
}

/** Reads a text body of at most `limit` bytes. Never throws. */
export async function readText(request: Request, limit: number, inbound: InboundBudget): Promise<TextBody> {
  const read = await inbound.read(request, limit, null);
  if (!read.ok) return bodyRejection(read.fault, limit);
  try {
    return { ok: true, text: new TextDecoder("utf-8", { fatal: true }).decode(read.bytes) };
  } catch {
    return NOT_JSON;
  } finally {
    read.release();
  }
}

/** @param limit of the body, in bytes */
export function bodyRejection(fault: ReadFault, limit: number): Rejection {
  switch (fault) {
    case "too large":
      return new Rejection(413, "body_too_large", `The body exceeds ${limit} bytes (limits.max_body).`);
    case "too slow":
      return new Rejection(408, "body_too_slow", "The body was not received in time (limits.frame_timeout).");
    case "broken":
      return NOT_JSON;
    default:
      return new Rejection(
        503,
        "too_much_inbound",
        "Inbound limit of the server reached (limits.max_inbound): try again later.",
      );
  }
}

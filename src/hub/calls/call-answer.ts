import { isObject } from "../../auth/json-object.ts";
import { parseAround, RawJson } from "../json/split-member.ts";
import type { PushReason } from "../refusal-reasons.ts";

export type CallStatus = "ok" | "error";

/** An answer to a call, as the payload of the reply to the push. */
export interface CallAnswer {
  readonly status: CallStatus;
  /** JSON text: an object with `status` and `response`. */
  readonly payload: string;
}

/** The answer of a backend, unchanged; without a `response` it gets an empty one. `null` if it has no valid status. */
export function parseAnswer(bytes: Buffer): CallAnswer | null {
  let value: unknown;
  try {
    value = parseAround(bytes, "response");
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  const { status, response } = value;
  if (status !== "ok" && status !== "error") return null;
  return response instanceof RawJson ? { status, payload: bytes.toString("utf8") } : answerWith(status, "{}");
}

/** @param response JSON text */
export function answerWith(status: CallStatus, response: string): CallAnswer {
  return { status, payload: `{"status":"${status}","response":${response}}` };
}

export function refusal(reason: PushReason): CallAnswer {
  return answerWith("error", `{"reason":"${reason}"}`);
}

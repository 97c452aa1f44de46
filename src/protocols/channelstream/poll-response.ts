import type { PollResult } from "../../transports/longpoll.ts";
import { type AnswerFormat, deliver, deliverNothing } from "../../transports/longpoll-response.ts";

/** The answer to a poll: a JSON list, or a script that calls `callback` with one. */
export function pollResponse(result: PollResult, callback: string | null, signal: AbortSignal): Response {
  const format = callback === null ? JSON_LIST : scriptOf(callback);
  return typeof result === "string" ? deliverNothing(format) : deliver(result, format, signal);
}

const JSON_LIST: AnswerFormat = { open: "[", close: "]", contentType: "application/json", join: listItems };

function scriptOf(callback: string): AnswerFormat {
  return {
    open: `${callback}([`,
    close: "])",
    contentType: "application/javascript; charset=utf-8",
    // Both characters end a line in older scripts.
    join: (lists) => listItems(lists).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029"),
  };
}

/** Each frame of this protocol is a list with at least one message. */
function listItems(lists: readonly string[]): string {
  return lists.map((list) => list.slice(1, -1)).join(",");
}

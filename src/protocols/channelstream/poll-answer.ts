import { AT_ONCE, slowBody } from "../../transports/slow-body.ts";
import type { Delivery } from "./listen-client.ts";

/**
 * The answer to a poll: a JSON list, or a script that calls `callback` with one. No more than fits the network's buffers is
 * handed over before it is read; an answer whose client hung up meanwhile was not received.
 */
export function deliver(delivery: Delivery, callback: string | null, signal: AbortSignal): Response {
  const script = callback !== null;
  const [open, close] = script ? [`${callback}([`, "])"] : ["[", "]"];
  const headers = { "content-type": script ? "application/javascript; charset=utf-8" : "application/json" };
  const { items } = delivery;
  let size = 0;
  for (const item of items) size += item.length;
  if (size <= AT_ONCE || signal.aborted) {
    delivery.settle(!signal.aborted);
    return new Response(open + printed(items.join(","), script) + close, { headers });
  }
  let at = 0;
  const { stream, cancel } = slowBody(
    {
      next() {
        if (at > items.length) return null;
        let part = at === 0 ? open : "";
        while (at < items.length && part.length < AT_ONCE) {
          part += `${at === 0 ? "" : ","}${printed(items[at++] ?? "", script)}`;
        }
        if (at < items.length) return part;
        at++;
        return part + close;
      },
      settled: (written) => delivery.settle(written),
    },
    signal,
  );
  delivery.onCancel = cancel;
  return new Response(stream, { headers });
}

/** Two characters end a line in older scripts, and are plain ones in JSON. */
function printed(list: string, script: boolean): string {
  return script ? list.replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029") : list;
}

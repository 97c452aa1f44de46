import type { Delivery } from "./delivery.ts";

/** UTF-16 units that are passed to the network at once: they fit its buffers. */
const CHUNK_SIZE = 64 * 1024;

/** How messages stand in the body of an answer. */
export interface AnswerFormat {
  readonly open: string;
  readonly close: string;
  readonly contentType: string;
  /** Messages as a list separated by commas. */
  join(messages: readonly string[]): string;
}

/**
 * A response with the messages of a delivery. A small one is written at once. A larger one is written only as fast as the
 * client reads, so that what it has not read counts as backlog.
 */
export function deliver(
  delivery: Delivery,
  format: AnswerFormat,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const all = { ...headers, "content-type": format.contentType };
  let size = 0;
  for (const message of delivery.messages) size += message.length;
  if (size <= CHUNK_SIZE || signal.aborted) {
    const { messages } = delivery;
    delivery.handed = size;
    delivery.settle(!signal.aborted);
    return new Response(format.open + format.join(messages) + format.close, { headers: all });
  }
  return new Response(readerPaced(partsOf(delivery, format), delivery, signal), { headers: all });
}

/** An answer without messages. */
export function deliverNothing(format: AnswerFormat): Response {
  return new Response(format.open + format.close, { headers: { "content-type": format.contentType } });
}

/** The body in parts of about one chunk each, made when they are needed. */
function* partsOf(delivery: Delivery, format: AnswerFormat): Generator<string> {
  let part = format.open;
  for (let at = 0; at < delivery.messages.length; ) {
    const first = at;
    let size = 0;
    while (at < delivery.messages.length && size < CHUNK_SIZE) size += delivery.messages[at++]?.length ?? 0;
    delivery.handed += size;
    yield part + (first > 0 ? "," : "") + format.join(delivery.messages.slice(first, at));
    part = "";
  }
  yield format.close;
}

/** A stream that takes the next chunk when the client has read the one before. */
function readerPaced(
  parts: Generator<string>,
  delivery: Delivery,
  signal: AbortSignal,
): ReadableStream<Uint8Array> {
  let over = false;
  let part = "";
  let at = 0;
  const abort = () => {
    if (over) return;
    over = true;
    delivery.settle(false);
  };
  signal.addEventListener("abort", abort, { once: true });
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        delivery.onCancel = () => {
          if (over) return;
          over = true;
          controller.close();
        };
      },
      pull(controller) {
        if (at >= part.length) {
          at = 0;
          part = parts.next().value ?? "";
        }
        if (part !== "") {
          const end = cutAt(part, at + CHUNK_SIZE);
          const chunk = part.slice(at, end);
          at = end;
          return controller.enqueue(Buffer.from(chunk));
        }
        over = true;
        controller.close();
        delivery.settle(true);
      },
      cancel: abort,
    },
    { highWaterMark: 0 },
  );
}

/** The first index at or after `at` that does not divide a surrogate pair. */
function cutAt(text: string, at: number): number {
  const code = text.charCodeAt(at - 1);
  return code >= 0xd800 && code < 0xdc00 ? at + 1 : at;
}

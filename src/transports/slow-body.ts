/** Up to so many characters an answer to a poll is written at once: it fits the network's own buffers. */
export const AT_ONCE = 64 * 1024;

/** What an answer is made of, and who is told how it went. */
export interface Parts {
  /** The next part, well-formed text of any size; `null` when there is none. */
  next(): string | null;
  /** Called once, unless it was cancelled: with `false` when the connection broke before all was written. */
  settled(written: boolean): void;
}

export interface SlowBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** Writes nothing more: the answer stays incomplete. */
  cancel(): void;
}

/** A body whose parts are made as the client reads, so that what it has not read is not in the network's buffers. */
export function slowBody(parts: Parts, signal: AbortSignal): SlowBody {
  let over = false;
  let part = "";
  let at = 0;
  let control: ReadableStreamDefaultController<Uint8Array> | null = null;
  const hangUp = () => {
    if (over) return;
    over = true;
    parts.settled(false);
  };
  signal.addEventListener("abort", hangUp, { once: true });
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        control = controller;
      },
      pull(controller) {
        if (at >= part.length) {
          at = 0;
          part = parts.next() ?? "";
        }
        if (part !== "") {
          const end = cut(part, at + AT_ONCE);
          const piece = part.slice(at, end);
          at = end;
          return controller.enqueue(Buffer.from(piece));
        }
        over = true;
        controller.close();
        parts.settled(true);
      },
      cancel: hangUp,
    },
    { highWaterMark: 0 },
  );
  return {
    stream,
    cancel() {
      if (over) return;
      over = true;
      control?.close();
    },
  };
}

/** Where a text may be cut at or behind `at`: not inside a character. */
function cut(text: string, at: number): number {
  const code = text.charCodeAt(at - 1);
  return code >= 0xd800 && code < 0xdc00 ? at + 1 : at;
}

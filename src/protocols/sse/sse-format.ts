/** The blocks of an event stream. Pure: values in, bytes out. */

/** Events of the protocol itself. Messages of channels have no `event:` line. */
export type NoticeEvent = "ready" | "gap" | "skipped" | "closed";

const DATA = Buffer.from("data: ");
const END = Buffer.from("}\n\n");

const LF = 10;
const CR = 13;

/** How long EventSource waits before it connects again, in ms: each connection waits another time, so that not all come at once. */
export const RETRY = 2000;
/** The same after a temporary refusal. */
export const RETRY_REFUSED = 10_000;

/** A `retry:` line, with half of the time at random. */
export function retryLine(ms: number): string {
  return `retry: ${Math.round(ms * (0.75 + Math.random() / 2))}\n`;
}

/** A notice as a block. @param id the position from which a client can resume after it; `null`: none */
export function notice(event: NoticeEvent, value: object, id: string | null = null): string {
  return `${idLine(id)}event: ${event}\ndata: ${JSON.stringify(value)}\n\n`;
}

export function idLine(id: string | null): string {
  return id === null ? "" : `id: ${id}\n`;
}

/** What stands before the payload of a JSON message. Both texts are JSON. */
export function beforePayload(channel: string, event: string): string {
  return `{"channel":${channel},"event":${event},"payload":`;
}

/** A message with a JSON payload, unchanged but for its line ends: each starts a further `data:` line. */
export function jsonBlock(id: string | null, before: string, payload: Buffer): Buffer {
  const head = Buffer.from(`${idLine(id)}data: ${before}`);
  return Buffer.concat([head, isOneLine(payload) ? payload : withDataLines(payload), END]);
}

/** A message with a binary payload. */
export function binaryBlock(id: string | null, channel: string, event: string, payload: Buffer): Buffer {
  const data = `{"channel":${channel},"event":${event},"base64":"${payload.toString("base64")}"}`;
  return Buffer.from(`${idLine(id)}data: ${data}\n\n`);
}

function isOneLine(bytes: Buffer): boolean {
  return !bytes.includes(LF) && !bytes.includes(CR);
}

function withDataLines(bytes: Buffer): Buffer {
  const lines: Buffer[] = [];
  let start = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte !== LF && byte !== CR) continue;
    lines.push(bytes.subarray(start, at), Buffer.from("\n"), DATA);
    if (byte === CR && bytes[at + 1] === LF) at++;
    start = at + 1;
  }
  lines.push(bytes.subarray(start));
  return Buffer.concat(lines);
}

import { type StreamMessage, senderOf, textOf } from "./message-text.ts";

/** One JSON object a line, oldest first. A JSON payload is written as it is, so that numbers keep their digits. */
export function jsonLines(messages: readonly StreamMessage[]): string {
  return messages.map((message) => `${jsonLine(message)}\n`).join("");
}

function jsonLine(message: StreamMessage): string {
  const { at, direction, channel, event, by, size, truncated, payload } = message;
  const head = JSON.stringify({
    at: new Date(at).toISOString(),
    direction,
    channel,
    event,
    sender: senderOf(message),
    agent: by,
    size,
    truncated,
  });
  return `${head.slice(0, -1)},${payloadField(payload)}}`;
}

function payloadField(payload: StreamMessage["payload"]): string {
  if ("bytes" in payload) return `"base64":${JSON.stringify(base64(payload.bytes))}`;
  if ("value" in payload) return `"payload":${JSON.stringify(payload.value) ?? "null"}`;
  try {
    JSON.parse(payload.text);
    // Line breaks in JSON are white space only.
    return `"payload":${payload.text.replace(/[\r\n]+/g, " ")}`;
  } catch {
    return `"text":${JSON.stringify(payload.text)}`;
  }
}

const COLUMNS = ["at", "direction", "channel", "event", "sender", "size", "truncated", "payload"];

/** Comma-separated values with a head, for spreadsheets (RFC 4180), oldest first. Bytes are hex. */
export function csv(messages: readonly StreamMessage[]): string {
  const rows = messages.map((message) => [
    new Date(message.at).toISOString(),
    message.direction,
    message.channel,
    message.event,
    senderOf(message),
    message.size === null ? "" : String(message.size),
    String(message.truncated),
    textOf(message),
  ]);
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Text of clients must not be a formula in a spreadsheet. */
function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Has the browser save a text as a file. */
export function saveFile(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has read it by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

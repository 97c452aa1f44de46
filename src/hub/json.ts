import { isUtf8 } from "node:buffer";
import { openScanner, type Scanner } from "./json/scanner.ts";

// A byte order mark is no white space to JSON: it has to reach the parser, so it must not be taken off here.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
let scanner: Scanner | undefined | null = null; // null: not opened yet, which takes some milliseconds

/** Whether `bytes` are one JSON text (RFC 8259) in valid UTF-8, white space around it allowed. Never throws. */
export function isJson(bytes: Uint8Array): boolean {
  if (!isUtf8(bytes)) return false;
  if (scanner === null) scanner = openScanner();
  return scanner?.(bytes) ?? isJsonText(utf8.decode(bytes));
}

/** The same for what is a string already, such as a client's push. Never throws. */
export function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

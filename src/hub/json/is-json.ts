import { isUtf8 } from "node:buffer";
import { openScanner, type Scanner } from "./scanner.ts";

// A byte order mark is no white space to JSON: it has to reach the parser, so it must not be taken off here.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();
/** UTF-16 units from which it is cheaper to encode a string for the scanner than to parse it. */
const LONG_TEXT = 16_384;

let scanner: Scanner | undefined | null = null; // null: not opened yet

/**
 * Whether `bytes` are one JSON text (RFC 8259), white space around it allowed, in valid UTF-8 without a byte order mark:
 * exactly what JSON.parse takes, at about a quarter of its time and with no garbage. The first call costs some
 * milliseconds more. Never throws.
 */
export function isJson(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && isGrammatical(bytes);
}

/** The same for what is a string already, such as a client's push. Never throws. */
export function isJsonText(text: string): boolean {
  // A lone surrogate becomes U+FFFD on the way, which is as good inside of a string and as bad outside of one.
  return text.length < LONG_TEXT ? parses(text) : isGrammatical(encoder.encode(text));
}

function isGrammatical(bytes: Uint8Array): boolean {
  if (scanner === null) scanner = openScanner();
  return scanner?.(bytes) ?? parses(decoder.decode(bytes));
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

import { isUtf8 } from "node:buffer";
import { openScanner, type Scanner } from "./scanner.ts";

// A byte order mark is not white space in JSON: it must not be removed, so that the parser refuses it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();
/** From this length, in UTF-16 units, it is cheaper to encode a string for the scanner than to parse it. */
const LONG_TEXT = 16_384;

let scanner: Scanner | undefined | null = null; // null: not loaded yet

/**
 * Whether `bytes` are one JSON text (RFC 8259), with white space around it or not, in valid UTF-8 without a byte order mark:
 * exactly what JSON.parse accepts, in about a quarter of its time and without garbage. The first call takes some
 * milliseconds more. Never throws.
 */
export function isJson(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && isGrammatical(bytes);
}

/** The same for a string, such as a client's push. Never throws. */
export function isJsonText(text: string): boolean {
  // A lone surrogate is encoded as U+FFFD, which is as valid inside a string and as invalid outside of one.
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

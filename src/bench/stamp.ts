/**
 * Every payload ends with `"sent":<12 digits>}`, so that the time of sending stands at a fixed place from the end. (The last
 * key of the alphabet, for servers that print the payload anew with its keys sorted.)
 */
export const STAMP_DIGITS = 12;
const BASE = 100_000_000_000;
const ZERO = 48;

/** A stamp to be overwritten at each sending. */
export const BLANK_STAMP = String(BASE);

/** Now, in whole microseconds of this process, always of 12 digits. Good for a day. */
export function now(): number {
  return BASE + Math.floor(performance.now() * 1000);
}

/** Overwrites the digits that end before `end`. */
export function writeStamp(bytes: Buffer, end: number, stamp: number): void {
  let rest = stamp;
  for (let at = end - 1; at >= end - STAMP_DIGITS; at--) {
    const next = Math.floor(rest / 10);
    bytes[at] = ZERO + rest - next * 10;
    rest = next;
  }
}

/** The digits that end before `end`. */
export function readStamp(bytes: Buffer, end: number): number {
  let stamp = 0;
  for (let at = end - STAMP_DIGITS; at < end; at++) stamp = stamp * 10 + (bytes[at] ?? 0) - ZERO;
  return stamp;
}

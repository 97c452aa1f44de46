/**
 * Every payload ends with `"sent":<12 digits>}`: the time of sending is at a fixed offset from the end. ("sent" sorts after "pad",
 * for servers that reprint payloads with sorted keys.)
 */
export const STAMP_DIGITS = 12;
const BASE = 100_000_000_000;
const ZERO = 48;

/** A placeholder, overwritten when a message is sent. */
export const BLANK_STAMP = String(BASE);

/** Microseconds from the start of the common clock to that of this process. */
let shift = 0;

/** Makes stamps comparable between processes: each counts from this Unix time in ms, not from its own start. */
export function shareClock(epochMs: number): void {
  shift = (performance.timeOrigin - epochMs) * 1000;
}

/** Microseconds since the start of this process or of the shared clock, offset to 12 digits. */
export function now(): number {
  return BASE + Math.floor(shift + performance.now() * 1000);
}

/** Writes a stamp whose digits end before `end`. */
export function writeStamp(bytes: Buffer, end: number, stamp: number): void {
  let rest = stamp;
  for (let at = end - 1; at >= end - STAMP_DIGITS; at--) {
    const next = Math.floor(rest / 10);
    bytes[at] = ZERO + rest - next * 10;
    rest = next;
  }
}

/** Reads a stamp whose digits end before `end`. */
export function readStamp(bytes: Buffer, end: number): number {
  let stamp = 0;
  for (let at = end - STAMP_DIGITS; at < end; at++) stamp = stamp * 10 + (bytes[at] ?? 0) - ZERO;
  return stamp;
}

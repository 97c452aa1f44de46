import { BLANK_STAMP } from "./stamp.ts";

const SHORTEST = `{"pad":"","sent":${BLANK_STAMP}}`;

/** Minimum size of a payload with a stamp, bytes. */
export const MIN_PAYLOAD_BYTES = SHORTEST.length;

/** A JSON object of exactly `bytes` bytes that ends with a stamp. */
export function paddedPayload(bytes: number): string {
  return `{"pad":"${"x".repeat(Math.max(0, bytes - SHORTEST.length))}","sent":${BLANK_STAMP}}`;
}

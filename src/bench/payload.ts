import { BLANK_STAMP } from "./stamp.ts";

const SHORTEST = `{"pad":"","sent":${BLANK_STAMP}}`;

/** The smallest that a payload with a stamp can be. */
export const LEAST_PAYLOAD_BYTES = SHORTEST.length;

/** A JSON object of exactly so many bytes that ends with a stamp. */
export function paddedPayload(bytes: number): string {
  return `{"pad":"${"x".repeat(Math.max(0, bytes - SHORTEST.length))}","sent":${BLANK_STAMP}}`;
}

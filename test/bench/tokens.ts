import { createHmac } from "node:crypto";

const HEADER = base64url(JSON.stringify({ alg: "HS256", typ: "JWT" }));
const DAY_S = 86_400;

/** A token for one channel, good for a day. Made before a measurement starts, never in it. */
export function mint(secret: string, id: string, channel: string): string {
  const body = base64url(JSON.stringify({ id, channel, exp: Math.floor(Date.now() / 1000) + DAY_S }));
  const signature = createHmac("sha256", secret).update(`${HEADER}.${body}`).digest("base64url");
  return `${HEADER}.${body}.${signature}`;
}

function base64url(text: string): string {
  return Buffer.from(text).toString("base64url");
}

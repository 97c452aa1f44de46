import type { Member } from "./channel.ts";

/** A client's message in an envelope, and who sent it. */
export interface Pushed {
  readonly member: Member;
  readonly event: string;
  /** The reference that the client gave it; `null` without one. */
  readonly ref: string | number | null;
  /** JSON text, or the bytes of a binary message. */
  readonly payload: string | Uint8Array;
}

/** A push as backends get it with its sender: JSON text with the payload unchanged, or as `base64`. */
export function pushEnvelope({ member, event, ref, payload }: Pushed): string {
  const { channel, user, connection } = member;
  const head = JSON.stringify({ channel: channel.name, event, user, connection: connection.id, ref });
  const body = typeof payload === "string" ? `"payload":${payload}` : `"base64":"${payload.toBase64()}"`;
  return `${head.slice(0, -1)},${body}}`;
}

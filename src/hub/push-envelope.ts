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

/** What a call has besides: where its answer is published, and the Unix time in ms until which it may be executed. */
export interface CallHead {
  readonly reply: string;
  readonly deadline: number;
}

/** A push as backends get it with its sender: JSON text with the payload unchanged, or as `base64`. */
export function pushEnvelope({ member, event, ref, payload }: Pushed, call?: CallHead): string {
  const { channel, user, connection } = member;
  const head = JSON.stringify({
    channel: channel.name,
    event,
    user,
    connection: connection.id,
    ref,
    ...call,
  });
  const body = typeof payload === "string" ? `"payload":${payload}` : `"base64":"${payload.toBase64()}"`;
  return `${head.slice(0, -1)},${body}}`;
}

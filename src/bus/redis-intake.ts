import type { Redis } from "ioredis";

/** Everything that backends say: one subscription, whatever channels there are (bridge.md, "Topic grammar"). */
const PATTERN = "to:*";

/**
 * Hands on what a connection hears, as the bytes that arrived. Call it once for a connection object, before `subscribe`.
 * Nothing else listens: for a listener of strings ioredis would decode every message.
 */
export function takeIn(redis: Redis, message: (name: Buffer, payload: Buffer) => void): void {
  redis.on("pmessageBuffer", (_pattern: string, name: Buffer, payload: Buffer) => message(name, payload));
}

/** Resolves when Redis has confirmed the subscription; rejects with its refusal or the loss of the connection. */
export async function subscribe(redis: Redis): Promise<void> {
  await redis.psubscribe(PATTERN);
}

import { CLOSED, NETWORK_REASONS } from "../network-reasons.ts";
import type { AmqpAddress } from "./amqp-address.ts";

/** Longest reason, in characters. */
const MAX_SHOWN = 300;

/** What the broker wrote, within the sentences of the client library. */
const WRITTEN = /with message "(.*)"$/s;

/** Replies of the broker that a retry alone does not change: an operator has to act. */
const PERSISTENT =
  /^(ACCESS_REFUSED|NOT_ALLOWED|PRECONDITION_FAILED|NOT_FOUND|RESOURCE_LOCKED|the virtual host)/;

/** Why a connection or an operation failed, in one line for an operator, without the password. */
export function reasonOf(error: unknown, { password, vhost }: AmqpAddress): string {
  if (!(error instanceof Error)) return CLOSED;
  const code =
    "code" in error && typeof error.code === "string" ? NETWORK_REASONS.get(error.code) : undefined;
  if (code !== undefined) return code;
  const { message } = error;
  if (message.includes("ETIMEDOUT")) return "no answer";
  if (message.includes("Socket closed abruptly"))
    return `${CLOSED} during the handshake: no AMQP 0-9-1 there, or TLS`;
  if (message.includes("ConnectionOpenOk; got <ConnectionClose")) {
    return `the virtual host ${vhost} does not exist, or the user may not use it`;
  }
  const shown = (WRITTEN.exec(message)?.[1] ?? message).replace(/\s+/g, " ").slice(0, MAX_SHOWN);
  return password === "" ? shown : shown.replaceAll(password, "***");
}

/** Whether somebody has to change something at the broker or in the configuration. */
export function isPersistent(reason: string): boolean {
  return PERSISTENT.test(reason);
}

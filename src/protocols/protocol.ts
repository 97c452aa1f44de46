import type { Rejection } from "../auth/rejection.ts";
import type { Claims } from "../auth/verifier.ts";
import type { WebSocketClient } from "../transports/websocket.ts";

/** An upgrade request, with what the server found out before it asked any protocol. */
export interface UpgradeRequest {
  /** Below `base_path`. */
  readonly path: string;
  readonly headers: Headers;
  readonly query: URLSearchParams;
  /** The id that the connection will have. */
  readonly id: string;
  /** The client's address, after trusted proxies. */
  readonly address: string;
  /** Whether it comes from a page of this host, or from no page at all. */
  readonly sameOrigin: boolean;
  /** What an administrator's cookie allows; `null` without one. */
  readonly administrator: Claims | null;
}

/** A socket to open, and the subprotocol to select (`""`: none; Bun would echo the first one offered). */
export interface Accepted {
  readonly client: WebSocketClient;
  readonly subprotocol: string;
}

/** The way into a protocol over WebSocket. */
export interface Protocol {
  /** Whether a request asks for this protocol, and none before it in server.ts. */
  matches(request: UpgradeRequest): boolean;
  /** A rejection is sent before the upgrade. */
  accept(request: UpgradeRequest): Accepted | Rejection;
}

/** The subprotocols that a client offers. */
export function offered(headers: Headers): string[] {
  return (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
}

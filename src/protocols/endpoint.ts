import type { Claims } from "../auth/token.ts";
import type { WebSocketClient } from "./websocket.ts";

/** An upgrade request, with what the server found out before it asked any protocol. */
export interface Knock {
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
export interface Welcome {
  readonly client: WebSocketClient;
  readonly subprotocol: string;
}

/** Why there is no socket, in one sentence: 403, before the upgrade. */
export interface Unwelcome {
  readonly refusal: string;
}

/** The way into a protocol over WebSocket. */
export interface Endpoint {
  /** Whether a request asks for this protocol, and none before it in server.ts. */
  isMeant(knock: Knock): boolean;
  welcome(knock: Knock): Welcome | Unwelcome;
}

/** The subprotocols that a client offers. */
export function offered(headers: Headers): string[] {
  return (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
}

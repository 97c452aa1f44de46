import type { Server } from "bun";
import type { Admin } from "../auth/admin.ts";
import type { Peer } from "../auth/peer.ts";
import { Rejection } from "../auth/rejection.ts";
import { isOwnHost } from "../auth/same-origin.ts";
import type { Config } from "../config/config.ts";
import type { RefusalLog } from "../hub/refusal-log.ts";
import type { Accepted, Places, Protocol } from "../protocols/protocol.ts";
import type { SocketHandler } from "../transports/websocket.ts";
import { checkOrigin } from "./admission.ts";
import { SHUTTING_DOWN } from "./request-rules.ts";

const BAD_HANDSHAKE = new Rejection(400, "bad_handshake", "Invalid WebSocket handshake.");

/** A request with its path below `base_path`. */
export interface PathRequest {
  readonly request: Request;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly peer: Peer;
  /** The remote end of the connection itself; `null` if the connection is gone, or is one of another worker. */
  readonly remote: { readonly address: string; readonly port: number } | null;
}

/** Whether the connection closes after this request. */
export function isLast(request: Request): boolean {
  return request.headers.get("connection")?.toLowerCase() === "close";
}

export interface UpgradeDeps {
  readonly config: Config;
  readonly protocols: readonly Protocol[];
  readonly admin: Admin;
  readonly places: Places;
  readonly refusals: RefusalLog;
  readonly newId: () => string;
  /** Whether the server stops, and accepts no new clients. */
  readonly isClosing: () => boolean;
}

/** Opens a socket, or returns why not. All checks are made before the upgrade: phoenix.js resets its back-off on open. */
export type Upgrade = (request: PathRequest, bun: Server<SocketHandler>) => Rejection | null;

export function createUpgrade(deps: UpgradeDeps): Upgrade {
  const { config, protocols, admin, places, refusals, newId, isClosing } = deps;

  function originRejection(protocol: Protocol, headers: Headers, peer: Peer): Rejection | null {
    if (protocol.checkOrigin !== undefined) return protocol.checkOrigin(headers, peer);
    const foreign = checkOrigin(headers, config);
    if (foreign !== null) refusals.origin(foreign.value, foreign.logReason, peer.address);
    return foreign;
  }

  function accept(protocol: Protocol, { request, path, query, peer }: PathRequest): Accepted | Rejection {
    const { headers } = request;
    return protocol.accept({
      path,
      headers,
      query,
      id: newId(),
      address: peer.address,
      https: peer.https,
      sameOrigin: isOwnHost(headers, config.publicUrl) || !headers.has("origin"),
      administrator: admin.upgradeClaims(request, peer),
    });
  }

  return (asked, bun) => {
    const { request, path, query, peer } = asked;
    const { headers } = request;
    const protocol =
      protocols.find((each) => each.matches({ path, headers, query })) ??
      protocols.find((each) => each.opensAt(path));
    if (protocol === undefined) return BAD_HANDSHAKE;
    const foreign = originRejection(protocol, headers, peer);
    if (foreign !== null) return foreign;
    if (isClosing()) return SHUTTING_DOWN;
    const full = places.admit(peer);
    if (full !== null) return full;
    const accepted = accept(protocol, asked);
    const rejected = accepted instanceof Rejection ? accepted : open(request, accepted, bun);
    if (rejected !== null) places.release(peer);
    return rejected;
  };
}

function open(
  request: Request,
  { client, subprotocol }: Accepted,
  bun: Server<SocketHandler>,
): Rejection | null {
  const headers = { "sec-websocket-protocol": subprotocol };
  return bun.upgrade(request, { data: client, headers }) ? null : BAD_HANDSHAKE;
}

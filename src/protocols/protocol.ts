import type { AttemptSource, CredentialKind } from "../auth/failed-attempts.ts";
import type { Peer } from "../auth/peer.ts";
import type { Rejection } from "../auth/rejection.ts";
import type { Claims, Verify } from "../auth/verifier.ts";
import type { Config, Limits } from "../config/config.ts";
import type { Authorizer } from "../hooks/authorizer.ts";
import type { FanoutContext } from "../hub/fanout.ts";
import type { Hub } from "../hub/hub.ts";
import type { ServerMessages } from "../hub/server-messages.ts";
import type { ConnectionContext } from "../transports/connection-context.ts";
import type { RemoteEnd, TcpProbe } from "../transports/sse-liveness.ts";
import type { WebSocketClient } from "../transports/websocket.ts";

/** What decides which protocol an upgrade request is for. */
export interface SocketRequest {
  /** Below `base_path`. */
  readonly path: string;
  readonly headers: Headers;
  readonly query: URLSearchParams;
}

/** An upgrade request that has passed the checks of origin and limits. */
export interface UpgradeRequest extends SocketRequest {
  /** The id that the connection will have. */
  readonly id: string;
  /** The client's address, behind trusted proxies. */
  readonly address: string;
  /** Whether it comes from a page of this host, or from no page at all. */
  readonly sameOrigin: boolean;
  /** Whether the client's own connection is encrypted. */
  readonly https: boolean;
  /** The claims of an administrator's cookie; `null` without one. */
  readonly administrator: Claims | null;
}

/** A socket to open, and the subprotocol to select (`""`: none; Bun would echo the first one offered). */
export interface Accepted {
  readonly client: WebSocketClient;
  readonly subprotocol: string;
}

/** A request without an upgrade. */
export interface PlainRequest {
  readonly request: Request;
  /** Below `base_path`. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly peer: Peer;
  /** The remote end of the connection itself: the last proxy, if there is one; `null` if the connection is gone. */
  readonly remote: RemoteEnd | null;
  /** Allows this answer more seconds than other answers may take; 0: any time. */
  extend(secs: number): void;
}

/** Answers plain requests at one path of a protocol. */
export interface ProtocolRoute {
  /** Must not reject. */
  handle(request: PlainRequest): Response | Promise<Response>;
  /** Whether a request is answered although its address is over its limits; never, if absent. */
  isExempt?(request: PlainRequest): boolean;
  /** Set where `handle` checks host, origin and limits itself, since its clients understand no other answers. */
  readonly checksItself?: true;
}

/** One protocol. The contract for implementations: docs/contributing.md, "To add a protocol". */
export interface Protocol {
  /** `"phoenix"`, ... */
  readonly name: string;
  /** Whether one worker of a machine has all of its sessions, users and channels. */
  readonly together?: true;
  /** Whether its sockets open at a path (below `base_path`). */
  opensAt(path: string): boolean;
  /**
   * Whether an upgrade request asks for this protocol; it gets those that match no protocol before it in the list. One that
   * matches none goes to the first protocol that opens at its path.
   */
  matches(request: SocketRequest): boolean;
  /** A rejection is sent before the upgrade. */
  accept(request: UpgradeRequest): Accepted | Rejection;
  /** Replaces the check of `allowed_origins` for its sockets; logs what it rejects. */
  checkOrigin?(headers: Headers, peer: Peer): Rejection | null;
  /** The route for plain requests of this path (below `base_path`) and method; `null` where there is none. */
  routes?(path: string, method: string): ProtocolRoute | null;
  /** Ends what a user has without an open connection. Returns how many connections these were. */
  endUser?(user: string): number;
  /** Called every `tickMs`. */
  tick?(): void;
  /** Called when the server stops and all clients are gone. */
  stop?(): void;
}

/** The rules of this server for requests that a protocol answers itself. */
export interface RequestRules {
  /** Checks `Host` and `Origin` (`allowed_hosts`, `allowed_origins`); logs and returns a rejection. */
  check(headers: Headers, peer: Peer): Rejection | null;
  /** Whether `allowed_origins` allows the page, if the request is from one. */
  allowsOrigin(headers: Headers): boolean;
  /** Headers that let an allowed page read an answer. */
  corsHeaders(headers: Headers): Readonly<Record<string, string>>;
  /** Headers of the answer to a preflight request. */
  preflightHeaders(headers: Headers, methods: string): Readonly<Record<string, string>>;
  /** Reads a text body, up to `limits.max_body`. */
  readText(request: Request): Promise<{ readonly ok: true; readonly text: string } | Rejection>;
  /** Rejects requests that are not the administrator's. */
  requireAdministrator(request: Request, peer: Peer): Rejection | null;
}

/** Places for connections without a socket, in the same limits as sockets. Each place taken must be released once. */
export interface Places {
  /** Counts in the rate of the address, and takes a place. */
  admit(peer: Peer): Rejection | null;
  /** As `admit`, but leaves taking the place to `take`. */
  mayBegin(peer: Peer): Rejection | null;
  take(peer: Peer): Rejection | null;
  release(peer: Peer): void;
}

/** Sends requests to the server that holds their session, where it can be reached. */
export interface RequestForwarding {
  /** The client of a request, also of one that another server has forwarded; `peer` is the client of the connection. */
  clientOf(request: Request, peer: Peer): Peer;
  /**
   * Sends a request to the server of an incarnation. `null` if that one is unknown, is not to be forwarded to, or if the request was
   * forwarded already; rejects if it cannot be reached.
   * @param path below `base_path`
   */
  forward(request: Request, path: string, incarnation: string, peer: Peer): Promise<Response> | null;
}

/** What a protocol is made of. */
export interface ProtocolDeps {
  readonly config: Config;
  /** The limits in force: `config.limits`, or less where the process may not open that many files. */
  readonly limits: Limits;
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly fanouts: FanoutContext;
  readonly verify: Verify;
  /** Whether a user is banned; `verify` rejects the tokens of one that is. */
  readonly isBanned: (user: string) => boolean;
  /** Asks the application about joins; `null` if no channel has `authorize`. */
  readonly authorizer: Authorizer | null;
  readonly rules: RequestRules;
  readonly places: Places;
  readonly forwarding: RequestForwarding;
  /** Messages on `hub:<kind>` to the same protocol of other servers. To be called once for each kind. */
  readonly serverMessages: (kind: string) => ServerMessages;
  /** A new connection id. */
  readonly newId: () => string;
  /** Logs a wrong proof (a signature, a token) for the audit log. */
  readonly auditWrongProof: (source: AttemptSource, kind: CredentialKind) => void;
  /** Looks at connections of this process; `null` where the system does not allow it. Uses some MB. */
  readonly openTcpProbe: () => Promise<TcpProbe | null>;
  /** ms between two calls of `tick`. */
  readonly tickMs: number;
}

/** Creates a protocol; `null` where the configuration turns it off. */
export type CreateProtocol = (deps: ProtocolDeps) => Protocol | null;

/** The subprotocols that a client offers. */
export function offered(headers: Headers): string[] {
  return (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
}

import type { Server } from "bun";
import { Rejection } from "../auth/rejection.ts";
import type { Siblings } from "../fleet/siblings.ts";
import type { Protocol } from "../protocols/protocol.ts";
import type { SocketHandler } from "../transports/websocket.ts";
import { RelayedSocket, type RelayLimits } from "./relayed-socket.ts";
import { isLast, type PathRequest } from "./upgrade.ts";

/** The worker that has all sessions of the protocols that keep theirs together. */
const FIRST = 1;

/** ms beyond the longest wait of a poll. */
const MARGIN = 15_000;

/** ms within which the first worker has to accept a socket: one that hangs must not keep clients waiting. */
const ACCEPT_TIMEOUT = 5000;

/** The longest that the runtime lets an answer take, in seconds. */
const LONGEST_SECS = 255;

const BAD_HANDSHAKE = new Rejection(400, "bad_handshake", "Invalid WebSocket handshake.");
const AWAY = new Rejection(503, "worker_away", "The worker of this path is away, try again in a moment.");

export interface FirstWorkerOptions {
  readonly siblings: Siblings;
  readonly protocols: readonly Protocol[];
  readonly limits: RelayLimits;
  /** Bytes that wait at all sockets together, at most. */
  readonly maxBuffered: number;
  /** The longest wait of a poll, in ms. */
  readonly longestPoll: number;
  /** ms. Default: 5 s. */
  readonly acceptTimeout?: number;
}

type Answer = Response | Rejection | undefined;

/** Passes what a protocol with `together` gets on to the first worker. */
export class FirstWorker {
  readonly #options: FirstWorkerOptions;
  readonly #protocols: readonly Protocol[];
  readonly #sockets = new Set<RelayedSocket>();

  constructor(options: FirstWorkerOptions) {
    this.#options = options;
    this.#protocols = options.protocols.filter(({ together }) => together === true);
  }

  /** `null` for a request that this worker handles itself; `undefined` if it was upgraded. */
  pass(asked: PathRequest, isUpgrade: boolean, bun: Server<SocketHandler>): Promise<Answer> | null {
    const { request, path, query } = asked;
    const { headers, method } = request;
    const concerned = this.#protocols.some(
      (each) =>
        (each.routes?.(path, method) ?? null) !== null ||
        (isUpgrade && each.matches({ path, headers, query })),
    );
    if (!concerned) return null;
    return isUpgrade ? this.#open(asked, bun) : this.#forward(asked, bun);
  }

  /** To be called several times a second. */
  tick(now: number): void {
    let buffered = 0;
    for (const socket of this.#sockets) {
      socket.check(now);
      buffered += socket.buffered;
    }
    if (buffered > this.#options.maxBuffered) this.#cutLargest(buffered);
  }

  #cutLargest(buffered: number): void {
    let left = buffered;
    const sizes = Array.from(this.#sockets, (socket) => ({ socket, bytes: socket.buffered }));
    for (const { socket, bytes } of sizes.sort((one, other) => other.bytes - one.bytes)) {
      if (left <= this.#options.maxBuffered) return;
      socket.cutOff();
      left -= bytes;
    }
  }

  async #forward({ request, peer, remote }: PathRequest, bun: Server<SocketHandler>): Promise<Answer> {
    bun.timeout(request, LONGEST_SECS);
    try {
      const { siblings, longestPoll } = this.#options;
      const client = { peer, port: isLast(request) ? null : (remote?.port ?? null) };
      return await siblings.forward(request, FIRST, client, longestPoll + MARGIN);
    } catch {
      return AWAY;
    }
  }

  async #open({ request, peer }: PathRequest, bun: Server<SocketHandler>): Promise<Answer> {
    const { siblings, limits, acceptTimeout = ACCEPT_TIMEOUT } = this.#options;
    const socket = new RelayedSocket(siblings.open(request, FIRST, { peer, port: null }), limits);
    const timer = setTimeout(() => socket.abandon(), acceptTimeout);
    const isAccepted = await socket.accepted;
    clearTimeout(timer);
    if (!isAccepted) return AWAY;
    const upgraded = bun.upgrade(request, { data: socket, headers: { "sec-websocket-protocol": "" } });
    if (!upgraded) {
      socket.abandon();
      return BAD_HANDSHAKE;
    }
    this.#sockets.add(socket);
    void socket.ended.then(() => this.#sockets.delete(socket));
    return undefined;
  }
}

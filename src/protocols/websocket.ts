import type { ServerWebSocket } from "bun";
import type { Connection } from "../hub/connection.ts";
import type { Connections } from "../hub/connections.ts";
import { Deadlines } from "../hub/deadlines.ts";
import { count, type Stats } from "../hub/stats.ts";
import type { Log } from "../log.ts";

/** How long a dismissed socket stays open, so that its client does not storm back: 2 to 5 s, in ms. */
const LINGER = 2_000;
const LINGER_JITTER = 2_700;

/** Malformed frames within a minute; the last of them is the socket's last. */
const MAX_STRIKES = 10;
const STRIKE_WINDOW = 60_000;

/** How many times its frames a second a socket may send at once. */
const BURST = 10;

interface Farewell {
  readonly socket: ClientSocket;
  readonly code: number;
  readonly reason: string;
}

/** What the sockets of every protocol share. */
export class SocketHouse {
  readonly connections: Connections;
  readonly stats: Stats;
  readonly log: Log;
  /** Frames a second that one socket may send. */
  readonly framesPerSecond: number;
  /** Bytes that may wait for one client. */
  readonly maxBuffered: number;
  readonly #farewells = new Deadlines<Farewell>(Date.now());

  constructor(options: {
    readonly connections: Connections;
    readonly stats: Stats;
    readonly log: Log;
    readonly framesPerSecond: number;
    readonly maxBuffered: number;
  }) {
    this.connections = options.connections;
    this.stats = options.stats;
    this.log = options.log;
    this.framesPerSecond = options.framesPerSecond;
    this.maxBuffered = options.maxBuffered;
  }

  /** Closes the socket later: 2 to 5 s from now, each at a time of its own. */
  closeLater(socket: ClientSocket, code: number, reason: string): void {
    this.#farewells.add({ socket, code, reason }, Date.now() + LINGER + Math.random() * LINGER_JITTER);
  }

  /** To be called several times a second. */
  tick(now: number): void {
    this.#farewells.due(now, Number.POSITIVE_INFINITY, ({ socket, code, reason }) =>
      socket.finish(code, reason),
    );
  }
}

/**
 * A WebSocket of any protocol: sign of life, budget of frames, back-pressure, and the ways to end. It is the socket's
 * `data`: one object for each connection.
 */
export abstract class ClientSocket implements Connection {
  abstract readonly protocol: string;
  readonly id: string;
  readonly address: string;
  readonly openedAt: number;
  lastSeen: number;
  idleSince: number | null;
  readonly house: SocketHouse;
  #ws: ServerWebSocket<ClientSocket> | null = null;
  #dismissed = false;
  #cutOff = false;
  #frames: number;
  #refilledAt: number;
  #strikes = 0;
  #strikesSince = 0;

  constructor(house: SocketHouse, id: string, address: string) {
    const now = Date.now();
    this.house = house;
    this.id = id;
    this.address = address;
    this.openedAt = now;
    this.lastSeen = now;
    this.idleSince = now;
    this.#frames = house.framesPerSecond * BURST;
    this.#refilledAt = now;
  }

  /** A frame; `allowed` is false when the socket sends more than its budget. Must not throw. */
  protected abstract receive(frame: string | Buffer, allowed: boolean): void;

  /** Ends all memberships: nobody may be left behind. Called once or more. */
  protected abstract leaveAll(): void;

  /** Whether it still takes part: frames of a socket that is being dismissed are ignored. */
  get open(): boolean {
    return this.#ws !== null && !this.#dismissed;
  }

  opened(ws: ServerWebSocket<ClientSocket>): void {
    this.#ws = ws;
    this.house.stats.connections.opened++;
    this.house.connections.add(this);
  }

  message(frame: string | Buffer): void {
    if (this.#dismissed) return;
    const now = Date.now();
    this.lastSeen = now;
    this.receive(frame, this.#takeFrame(now));
  }

  pong(): void {
    this.lastSeen = Date.now();
  }

  closed(): void {
    this.#ws = null;
    this.house.stats.connections.closed++;
    this.house.connections.remove(this);
    this.leaveAll();
  }

  send(frame: string | Buffer): void {
    if (this.#ws === null || this.#dismissed) return;
    const sent = this.#ws.send(frame);
    if (sent === -1) this.house.connections.noticeBacklog();
    else if (sent === 0) this.checkBacklog();
  }

  subscribe(topic: string): void {
    this.#ws?.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    this.#ws?.unsubscribe(topic);
  }

  /** To be called when something for this socket was dropped: cuts it off if more waits for it than may. */
  checkBacklog(): void {
    if (this.buffered() >= this.house.maxBuffered) this.cutOff("slow");
  }

  buffered(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  ping(): void {
    this.#ws?.ping();
  }

  close(code: number, reason: string): void {
    this.#dismissed = true;
    this.leaveAll();
    this.finish(code, reason);
  }

  dismiss(code: number, reason: string): void {
    if (this.#ws === null || this.#dismissed) return;
    this.#dismissed = true;
    count(this.house.stats.closed, reason.replaceAll(" ", "_"));
    this.leaveAll();
    this.house.closeLater(this, code, reason);
  }

  cutOff(reason: string): void {
    if (this.#ws === null || this.#cutOff) return;
    this.#cutOff = true;
    count(this.house.stats.closed, reason);
    this.house.log.debug("cut off", { connection: this.id, reason });
    this.#ws.terminate();
  }

  /** Sends the close frame. A stalled socket would keep its backlog in memory: it is terminated instead. */
  finish(code: number, reason: string): void {
    if (this.buffered() > 0) this.#ws?.terminate();
    else this.#ws?.close(code, reason);
  }

  /** Counts a malformed frame. The tenth within a minute dismisses the socket: `false`. */
  protected strike(): boolean {
    if (this.lastSeen - this.#strikesSince > STRIKE_WINDOW) {
      this.#strikesSince = this.lastSeen;
      this.#strikes = 0;
    }
    this.#strikes++;
    if (this.#strikes < MAX_STRIKES) return true;
    this.dismiss(1008, "too many malformed frames");
    return false;
  }

  #takeFrame(now: number): boolean {
    const { framesPerSecond } = this.house;
    const refill = ((now - this.#refilledAt) * framesPerSecond) / 1000;
    this.#refilledAt = now;
    this.#frames = Math.min(this.#frames + refill, framesPerSecond * BURST);
    if (this.#frames < 1) return false;
    this.#frames--;
    return true;
  }
}

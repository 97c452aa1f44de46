import { mint } from "../integration/phoenix-client.ts";
import type { Ledger } from "./ledger.ts";

/** What every client of the soak shares. */
export interface Stage {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly secret: string;
  readonly rooms: readonly string[];
  readonly ledger: Ledger;
}

/** How a client disconnects: with a leave for each room, by closing, or by a lost connection. */
export type Departure = "leave" | "close" | "cut";

/** A client of the soak, connected for a limited time. */
export interface SoakClient {
  push(): void;
  heartbeat(): void;
  go(how: Departure): Promise<void>;
}

/** For replies, in ms: longer than a push may take without a Redis. */
const REPLY_MS = 6000;

let lastMark = 0;

/** A Phoenix client of either version, over either transport. */
export class Phoenix implements SoakClient {
  readonly #stage: Stage;
  readonly #name: string;
  readonly #version: 1 | 2;
  readonly #rooms: readonly string[];
  readonly #carry: (frame: string) => void;
  readonly #part: (how: Departure) => Promise<void> | void;
  readonly #observer: boolean;
  readonly #last = new Map<string, number>();
  readonly #joined = new Map<string, string>();
  readonly #open = new Map<
    string,
    { kind: "join" | "leave" | "push" | "heartbeat"; room: string; mark: string }
  >();
  #ref = 0;
  #wake: (() => void) | null = null;

  constructor(
    stage: Stage,
    name: string,
    version: 1 | 2,
    rooms: readonly string[],
    carry: (frame: string) => void,
    part: (how: Departure) => Promise<void> | void,
    observer = false,
  ) {
    this.#stage = stage;
    this.#name = name;
    this.#version = version;
    this.#rooms = rooms;
    this.#carry = carry;
    this.#part = part;
    this.#observer = observer;
  }

  join(): void {
    for (const room of this.#rooms) {
      const token = mint({ id: this.#name, channel: room }, this.#stage.secret);
      this.#send("join", room, "phx_join", JSON.stringify({ token }));
    }
  }

  push(): void {
    const [room] = this.#joined.keys();
    if (room === undefined) return;
    const mark = `m${++lastMark}`;
    this.#stage.ledger.pushes.sent++;
    this.#send("push", room, "said", JSON.stringify({ mark }), mark);
  }

  heartbeat(): void {
    this.#send("heartbeat", "phoenix", "heartbeat", "{}");
  }

  async go(how: Departure): Promise<void> {
    await this.#settled();
    if (how === "leave") {
      for (const room of [...this.#joined.keys()]) this.#send("leave", room, "phx_leave", "{}");
      await this.#settled();
    }
    const { ledger } = this.#stage;
    for (const { kind, room } of this.#open.values()) {
      if (kind === "push") ledger.pushes.unanswered++;
      if (kind === "join") ledger.joins.unanswered++;
      ledger.fault(`${this.#name}: a ${kind} on ${room} was not answered`);
    }
    await this.#part(how);
  }

  /** A frame from the server. */
  receive(frame: string | ArrayBuffer | Uint8Array): void {
    if (typeof frame === "string") return this.#text(frame);
    // Kind 0 with an empty join_ref: a binary broadcast. Its payload is text that the soak sent.
    const bytes = new Uint8Array(frame);
    const [, joinRef = 0, topic = 0, event = 0] = bytes;
    const decode = (from: number, to?: number): string => new TextDecoder().decode(bytes.subarray(from, to));
    const at = 4 + joinRef;
    this.#broadcast(decode(at, at + topic), decode(at + topic + event));
  }

  #text(frame: string): void {
    const value: unknown = JSON.parse(frame);
    if (Array.isArray(value)) {
      const [, ref, topic, event, payload]: unknown[] = value;
      this.#frame(ref, String(topic), String(event), payload);
    } else if (typeof value === "object" && value !== null && "event" in value && "topic" in value) {
      const ref = "ref" in value ? value.ref : null;
      this.#frame(ref, String(value.topic), String(value.event), "payload" in value ? value.payload : null);
    }
  }

  #frame(ref: unknown, topic: string, event: string, payload: unknown): void {
    if (event === "phx_reply" && typeof ref === "string") return this.#reply(ref, payload);
    if (event === "phx_error") return this.#stage.ledger.fault(`${this.#name}: ${JSON.stringify(payload)}`);
    if (event === "message" || event === "bytes") return this.#broadcast(topic, payload);
    if (event === "presence_diff") this.#stage.ledger.received++;
  }

  #reply(ref: string, payload: unknown): void {
    const asked = this.#open.get(ref);
    if (asked === undefined) return this.#stage.ledger.fault(`${this.#name}: a second reply to ${ref}`);
    this.#open.delete(ref);
    const { ledger } = this.#stage;
    const ok =
      typeof payload === "object" && payload !== null && "status" in payload && payload.status === "ok";
    if (asked.kind === "join") {
      if (ok) this.#joined.set(asked.room, ref);
      else ledger.fault(`${this.#name}: the join of ${asked.room} was refused: ${JSON.stringify(payload)}`);
      ledger.joins[ok ? "ok" : "refused"]++;
    } else if (asked.kind === "push") {
      if (ok) ledger.accepted.set(asked.mark, performance.now());
      else ledger.refusedMarks.add(asked.mark);
      const refused = JSON.stringify(payload).includes('"backend unavailable"');
      ledger.pushes[ok ? "ok" : refused ? "refused" : "other"]++;
    } else if (asked.kind === "leave") this.#joined.delete(asked.room);
    if (this.#open.size === 0) this.#wake?.();
  }

  /** Payloads are `{"n": <serial>, ...}`; to V1 and long polling a binary one comes as text. */
  #broadcast(room: string, payload: unknown): void {
    const serial = serialOf(payload);
    if (serial === null) return this.#stage.ledger.fault(`${this.#name}: ${room} brought ${String(payload)}`);
    this.#stage.ledger.receive(this.#name, this.#last, room, serial);
    if (this.#observer) this.#stage.ledger.observed.add(`${room} ${serial}`);
  }

  #send(
    kind: "join" | "leave" | "push" | "heartbeat",
    room: string,
    event: string,
    payload: string,
    mark = "",
  ): void {
    const ref = String(++this.#ref);
    this.#open.set(ref, { kind, room, mark });
    const joinRef = kind === "join" ? ref : (this.#joined.get(room) ?? null);
    const names = `${JSON.stringify(room)},${JSON.stringify(event)}`;
    if (this.#version === 2) this.#carry(`[${JSON.stringify(joinRef)},"${ref}",${names},${payload}]`);
    else this.#carry(JSON.stringify({ topic: room, event, ref, payload: JSON.parse(payload) }));
  }

  async #settled(): Promise<void> {
    if (this.#open.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, REPLY_MS);
    this.#wake = resolve;
    await promise;
    this.#wake = null;
    clearTimeout(timer);
  }
}

/** The number in a room message: `{"n": 7}`, or text of it, or `binary 7 ...`. */
export function serialOf(payload: unknown): number | null {
  if (typeof payload === "string") {
    const digits = /^binary (\d+) /.exec(payload)?.[1];
    return digits === undefined ? null : Number(digits);
  }
  if (typeof payload !== "object" || payload === null || !("n" in payload)) return null;
  return typeof payload.n === "number" ? payload.n : null;
}

/** A Phoenix client on a WebSocket. Resolves when it is connected and has sent its joins. */
export async function phoenixSocket(
  stage: Stage,
  name: string,
  version: 1 | 2,
  rooms: readonly string[],
  observer = false,
): Promise<Phoenix> {
  const socket = await openSocket(stage, `/websocket?vsn=${version}.0.0`);
  const client = new Phoenix(
    stage,
    name,
    version,
    rooms,
    (frame) => socket.send(frame),
    (how) => partSocket(stage, socket, how),
    observer,
  );
  socket.onmessage = ({ data }) => client.receive(data);
  client.join();
  return client;
}

export async function openSocket(stage: Stage, path: string): Promise<WebSocket> {
  const socket = new WebSocket(stage.url.replace("http:", "ws:") + path);
  socket.binaryType = "arraybuffer";
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.onopen = () => resolve();
  socket.onerror = () => reject(new Error("a socket did not open"));
  await promise;
  stage.ledger.clients.opened++;
  socket.onerror = null;
  socket.onclose = ({ code }) => {
    stage.ledger.clients.lost++;
    stage.ledger.fault(`a socket was closed with ${code}`);
  };
  return socket;
}

export async function partSocket(stage: Stage, socket: WebSocket, how: Departure): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.onclose = () => resolve();
  if (how === "cut") {
    // Bun's own; the DOM's types don't have it.
    if ("terminate" in socket && typeof socket.terminate === "function") socket.terminate();
    stage.ledger.clients.cut++;
    return;
  }
  socket.close(1000);
  stage.ledger.clients[how === "leave" ? "left" : "closed"]++;
  await promise;
}

import { isObject, type JsonObject } from "../auth/json-object.ts";
import type { PublishAck } from "../bus/bus.ts";
import { randomId } from "../hub/random-id.ts";
import type { Fleet, Peer } from "./fleet.ts";
import type { FleetMessages } from "./fleet-messages.ts";

/** How long answers are waited for, in ms. */
const TIMEOUT = 1000;

/** Longest request that is read, in bytes. */
const MAX_REQUEST = 512 * 1024;

/** Longest answer, in bytes. */
export const MAX_ANSWER = 256 * 1024;

/** The most requests that wait for answers. */
const MAX_PENDING = 1000;

/** The most servers whose last request is remembered. */
const MAX_SENDERS = 1000;

/** What one server answered; `body` is `null` unless `ok`: no answer in time, or it failed. */
export interface FleetAnswer {
  readonly server: Peer;
  readonly ok: boolean;
  readonly body: JsonObject | null;
}

/** Does what another server asks for. Its result is the answer: a JSON object, `null` for a failure. May reject. */
export type RequestHandler = (body: JsonObject) => JsonObject | null | Promise<JsonObject | null>;

interface Pending {
  readonly waiting: Map<string, Peer>;
  readonly answers: FleetAnswer[];
  readonly done: () => void;
}

/**
 * Requests to other servers. Each names the servers that it is for, by incarnation, and has a number that grows: one that is
 * repeated, or that was meant for an earlier process, is ignored.
 */
export class FleetRequests {
  readonly #fleet: Fleet;
  readonly #messages: FleetMessages;
  readonly #handlers = new Map<string, RequestHandler>();
  readonly #pending = new Map<string, Pending>();
  /** The number of the last request of each server, the one that asked longest ago first. */
  readonly #last = new Map<string, number>();
  #seq = 0;

  constructor(fleet: Fleet, messages: FleetMessages) {
    this.#fleet = fleet;
    this.#messages = messages;
    messages.on("ask", (body) => this.#asked(body));
    this.#listen(fleet.incarnation);
    fleet.observe({ renewed: (_previous, current) => this.#listen(current) });
  }

  /** Sets what is done for a kind of request. */
  on(kind: string, handler: RequestHandler): void {
    this.#handlers.set(kind, handler);
  }

  /** Asks servers, by default all others. Resolves after at most `ms`, with one entry for each. */
  async ask(
    kind: string,
    body: JsonObject,
    servers?: readonly Peer[],
    ms = TIMEOUT,
  ): Promise<readonly FleetAnswer[]> {
    const to = servers ?? [...this.#fleet.others.values()].filter(({ report }) => !report.stopped);
    if (to.length === 0) return [];
    const id = randomId(16);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = new Map(to.map((server) => [server.incarnation, server]));
    const pending: Pending = { waiting, answers: [], done: resolve };
    if (this.#pending.size < MAX_PENDING) {
      this.#pending.set(id, pending);
      const timer = setTimeout(resolve, Math.max(ms, 0));
      const ack: PublishAck = { settled: (accepted) => void (accepted || resolve()) };
      const { incarnation: from } = this.#fleet;
      const request = { id, from, seq: ++this.#seq, to: [...waiting.keys()], kind, body };
      this.#messages.publish("ask", JSON.stringify(request), ack);
      await promise;
      clearTimeout(timer);
      this.#pending.delete(id);
    }
    const missing = [...waiting.values()].map((server) => ({ server, ok: false, body: null }));
    return [...pending.answers, ...missing];
  }

  #listen(incarnation: string): void {
    this.#messages.on(`answer-${incarnation}`, (body) => this.#answered(body));
  }

  #answered(bytes: Buffer): void {
    const answer = parse(bytes, 2 * MAX_ANSWER);
    const pending = this.#pending.get(String(answer?.id));
    const server = pending?.waiting.get(String(answer?.from));
    if (answer === null || pending === undefined || server === undefined) return;
    pending.waiting.delete(server.incarnation);
    const body = isObject(answer.body) ? answer.body : null;
    pending.answers.push({ server, ok: body !== null, body });
    if (pending.waiting.size === 0) pending.done();
  }

  #asked(bytes: Buffer): void {
    const request = parse(bytes, MAX_REQUEST);
    if (request === null) return;
    const { id, from, seq, to, kind, body } = request;
    if (typeof id !== "string" || typeof from !== "string" || typeof seq !== "number") return;
    if (!/^[0-9A-Za-z]{1,32}$/.test(from) || !isObject(body)) return;
    if (!Array.isArray(to) || !to.includes(this.#fleet.incarnation) || !this.#isNew(from, seq)) return;
    const handler = this.#handlers.get(String(kind));
    if (handler !== undefined) void this.#answer(handler, body, id, from);
  }

  async #answer(handler: RequestHandler, body: JsonObject, id: string, to: string): Promise<void> {
    const from = this.#fleet.incarnation;
    let result: JsonObject | null = null;
    try {
      result = await handler(body);
    } catch {
      // The answer says that it failed.
    }
    let answer = JSON.stringify({ id, from, body: result });
    if (answer.length > MAX_ANSWER) answer = JSON.stringify({ id, from, body: null });
    this.#messages.publish(`answer-${to}`, answer);
  }

  /** Whether this is not a repetition of a request of that server. */
  #isNew(from: string, seq: number): boolean {
    const last = this.#last.get(from) ?? 0;
    if (seq <= last) return false;
    this.#last.delete(from);
    this.#last.set(from, seq);
    const [oldest] = this.#last.keys();
    if (this.#last.size > MAX_SENDERS && oldest !== undefined) this.#last.delete(oldest);
    return true;
  }
}

function parse(bytes: Buffer, most: number): JsonObject | null {
  if (bytes.length > most) return null;
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

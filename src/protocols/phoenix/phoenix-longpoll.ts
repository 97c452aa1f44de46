import type { Peer } from "../../auth/peer.ts";
import { isForeign } from "../../auth/same-origin.ts";
import { count } from "../../hub/stats.ts";
import { type Delivery, LongPollClient } from "../../transports/longpoll.ts";
import { AT_ONCE, slowBody } from "../../transports/slow-body.ts";
import { answerNumber, numbered, type Ticket, TicketSeal } from "./longpoll-ticket.ts";
import { type PhoenixProtocol, vsnCodec } from "./phoenix.ts";
import { PhoenixSession } from "./phoenix-session.ts";

/** How long a poll waits for a message, and how long a session lives without one, in ms. */
const POLL_WAIT = 10_000;
const POLL_PAUSE = 15_000;

/** Between two ticks, in ms: more shows that the process did not run. */
const STANDSTILL = 2_000;

/** Bytes of one POST: phoenix.js may send its whole backlog in one. */
const MAX_LONGPOLL_BODY = 8 * 1024 * 1024;

/**
 * Bytes of a poll's URL and headers. Bun answers a bare 431 to more than 16 KiB, after which phoenix.js would begin a new
 * session 10 ms later, for ever: a session whose polls could not be read is refused from the start.
 */
const MAX_HEAD = 15_000;

/** What the body of an answer says. HTTP's own status is always 200: phoenix.js takes any other body for the end. */
interface Answer {
  readonly status: 200 | 204 | 403 | 410 | 500;
  readonly token?: string;
  readonly messages?: readonly string[];
}

/** Places for sessions, as for sockets. */
export interface Places {
  /**
   * Whether a session may begin. To be asked before its token is given out: phoenix.js takes that for an open connection,
   * and comes back 10 ms after the end of one.
   */
  mayBegin(peer: Peer): boolean;
  /** Takes a place for a session that is used for the first time; `false` where there is none. Each one is given back once. */
  take(peer: Peer): boolean;
  release(peer: Peer): void;
}

/** Long polling as phoenix.js speaks it: POST for frames to the server, GET for those that wait for the client. */
export class LongPoll {
  readonly #endpoint: PhoenixProtocol;
  readonly #places: Places;
  readonly #newId: () => string;
  readonly #seal: TicketSeal;
  readonly #clients = new Map<string, LongPollClient>();
  /** Sessions that ended while their token could still begin one, with the time until which it could. */
  readonly #ended = new Map<string, number>();
  #tickedAt = performance.now();
  #resumedAt = Number.NEGATIVE_INFINITY;

  constructor(endpoint: PhoenixProtocol, places: Places, newId: () => string) {
    this.#endpoint = endpoint;
    this.#places = places;
    this.#newId = newId;
    this.#seal = new TicketSeal(endpoint.hub.node);
  }

  /** Answers a request of a page that may be here. `headers` are those of CORS. Never rejects. */
  async handle(
    request: Request,
    query: URLSearchParams,
    peer: Peer,
    headers: Readonly<Record<string, string>>,
  ): Promise<Response> {
    try {
      return await this.#answer(request, query, peer, headers);
    } catch (error) {
      this.#endpoint.context.log.debug("a long poll failed", { error: String(error) });
      return respond({ status: 500 }, headers);
    }
  }

  /** The answer to one who may not be here. */
  forbid(headers: Readonly<Record<string, string>>): Response {
    return respond(this.#forbidden(), headers);
  }

  /** To be called several times a second: ends the sessions that nobody polls. */
  tick(): void {
    const now = performance.now();
    if (now - this.#tickedAt > STANDSTILL) this.#resumedAt = now;
    this.#tickedAt = now;
    for (const client of this.#clients.values()) {
      const { unpolledSince } = client;
      if (unpolledSince === null) continue;
      // Polls that came while the whole process stood still are yet to be read.
      if (now - Math.max(unpolledSince, this.#resumedAt) > POLL_PAUSE) client.cutOff("silent");
    }
    for (const [id, until] of this.#ended) {
      if (until > now) return;
      this.#ended.delete(id);
    }
  }

  async #answer(
    request: Request,
    query: URLSearchParams,
    peer: Peer,
    cors: Readonly<Record<string, string>>,
  ): Promise<Response> {
    const polls = request.method === "GET";
    if (!polls && request.method !== "POST") return respond({ status: 500 }, cors);
    const { headers } = request;
    const named = headers.get("x-phoenix-longpoll-token") ?? query.getAll("token").at(-1) ?? "";
    const ticket = this.#seal.open(named);
    const client = ticket === null ? null : this.#client(ticket, headers, query, peer);
    if (client === "full") return respond({ status: 500 }, cors);
    if (client === null || client.over) {
      if (polls) return respond(this.#begin(request, query, peer), cors);
      return respond({ status: this.#places.mayBegin(peer) ? 410 : 500 }, cors);
    }
    if (!polls) return respond(await receive(client, request), cors);
    const got = answerNumber(named);
    const kept = got === null ? numbered(named, client.number) : named;
    const polled = await client.poll(request.signal, got);
    if (polled === "gone") return respond({ status: 410, token: this.#ticket(headers), messages: [] }, cors);
    if (polled === "none") return respond({ status: 204, token: kept, messages: [] }, cors);
    return deliver(polled, numbered(named, polled.number), request.signal, cors);
  }

  /** A new session's token. Nothing is held for it before it is used. */
  #begin(request: Request, query: URLSearchParams, peer: Peer): Answer {
    const { headers, url } = request;
    if (vsnCodec(query) === undefined) return this.#forbidden();
    const token = this.#ticket(headers);
    let head = url.length + token.length;
    for (const [name, value] of headers) head += name.length + value.length + 4;
    if (head > MAX_HEAD) return this.#forbidden();
    if (!this.#places.mayBegin(peer)) return { status: 500 };
    return { status: 410, token, messages: [] };
  }

  #forbidden(): Answer {
    count(this.#endpoint.context.stats.refused, "http_403");
    return { status: 403 };
  }

  #ticket(headers: Headers): string {
    const authToken = headers.get("x-phoenix-authtoken");
    return this.#seal.seal({ id: this.#newId(), issuedAt: performance.now(), authToken });
  }

  /** The session of a ticket, begun by its first use; `null` when it is over. */
  #client(
    ticket: Ticket,
    headers: Headers,
    query: URLSearchParams,
    peer: Peer,
  ): LongPollClient | "full" | null {
    const known = this.#clients.get(ticket.id);
    if (known !== undefined) return known;
    const codec = vsnCodec(query);
    const late = performance.now() - ticket.issuedAt > POLL_PAUSE;
    if (late || codec === undefined || this.#ended.has(ticket.id)) return null;
    if (!this.#places.take(peer)) return "full";
    const client = new LongPollClient(this.#endpoint.context, ticket.id, peer.address, POLL_WAIT, () => {
      this.#clients.delete(ticket.id);
      this.#ended.set(ticket.id, performance.now() + POLL_PAUSE);
      this.#places.release(peer);
    });
    client.foreign = isForeign(headers, null, false);
    const token = query.get("userToken") || ownToken(headers, query) || ticket.authToken;
    client.session = new PhoenixSession(this.#endpoint, client, {
      codec,
      binary: false,
      token,
      administrator: null,
    });
    this.#clients.set(ticket.id, client);
    client.start();
    return client;
  }
}

/** The `token` of the page's own params: phoenix.js adds the session's behind it, or sends that in a header. */
function ownToken(headers: Headers, query: URLSearchParams): string | null {
  const tokens = query.getAll("token");
  return tokens.length > 1 || headers.has("x-phoenix-longpoll-token") ? (tokens[0] ?? null) : null;
}

async function receive(client: LongPollClient, request: Request): Promise<Answer> {
  const read = await client.context.inbound.read(request, MAX_LONGPOLL_BODY, client);
  if (!read.ok) return { status: 500 };
  try {
    return await take(client, request, read.bytes);
  } finally {
    // Its frames may have waited for a token to be verified.
    read.release();
  }
}

async function take(client: LongPollClient, request: Request, body: Uint8Array): Promise<Answer> {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  const type = request.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  const frames = () => (type === "application/x-ndjson" ? framesIn(text) : [text]);
  for (const frame of frames()) {
    if (!isOver(frame, client.context.maxFrame)) continue;
    client.cutOff("frame_too_large");
    return { status: 500 };
  }
  return { status: (await client.post(frames())) ? 200 : 410 };
}

/** The frames of an `application/x-ndjson` body, one at a time: there may be hundreds of thousands. */
function* framesIn(text: string): Generator<string | Buffer> {
  for (let start = 0, end = 0; start < text.length; start = end + 1) {
    end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    if (end === start) continue;
    const line = text.slice(start, end);
    yield line.startsWith("[") || line.startsWith("{") ? line : Buffer.from(line, "base64");
  }
}

/** Whether a frame has more bytes than it may. A character has at most three. */
function isOver(frame: string | Buffer, most: number): boolean {
  return frame.length * 3 > most && Buffer.byteLength(frame) > most;
}

function respond(answer: Answer, headers: Readonly<Record<string, string>>): Response {
  return Response.json(answer, { headers: { ...headers, "cache-control": "no-store" } });
}

/**
 * Messages for a poll. What fits the network's own buffers is written at once. Of more, no more is handed over than the
 * client reads, so that what it has not read counts as waiting; where it hangs up half-way, its next poll gets all of it.
 */
function deliver(
  delivery: Delivery,
  token: string,
  signal: AbortSignal,
  cors: Readonly<Record<string, string>>,
): Response {
  let size = 0;
  for (const message of delivery.messages) size += message.length;
  if (size <= AT_ONCE || signal.aborted) {
    const { messages } = delivery;
    delivery.handed = size;
    delivery.settle(!signal.aborted);
    return respond({ status: 200, token, messages }, cors);
  }
  let at = 0;
  const { stream, cancel } = slowBody(
    {
      next() {
        const { messages } = delivery;
        if (at > messages.length) return null;
        let part = at === 0 ? `{"status":200,"token":${JSON.stringify(token)},"messages":[` : "";
        while (at < messages.length && part.length < AT_ONCE) {
          const message = messages[at] ?? "";
          part += `${at++ === 0 ? "" : ","}${JSON.stringify(message)}`;
          delivery.handed += message.length;
        }
        if (at < messages.length) return part;
        at++;
        return `${part}]}`;
      },
      settled: (written) => delivery.settle(written),
    },
    signal,
  );
  delivery.onCancel = cancel;
  return new Response(stream, {
    headers: { ...cors, "cache-control": "no-store", "content-type": "application/json" },
  });
}

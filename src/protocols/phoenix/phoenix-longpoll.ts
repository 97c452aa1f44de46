import type { Peer } from "../../auth/peer.ts";
import { isForeign } from "../../auth/same-origin.ts";
import { count } from "../../hub/stats.ts";
import { LongPollClient } from "../../transports/longpoll.ts";
import { type AnswerFormat, deliver } from "../../transports/longpoll-response.ts";
import { acknowledgedBy, nodeIn, type Ticket, TicketSeal, withNumber } from "./longpoll-ticket.ts";
import { vsnCodec } from "./phoenix-codec.ts";
import type { PhoenixContext } from "./phoenix-context.ts";
import { PhoenixSession } from "./phoenix-session.ts";

/** How long a poll waits for a message, in ms. */
const POLL_WAIT = 10_000;

/** How long a session lasts without a poll, and a token without its first use, in ms. */
const SESSION_TIMEOUT = 15_000;

/** Time between two ticks, in ms, that shows that the process was suspended. */
const SUSPENDED_AFTER = 2_000;

/** Bytes of one POST: phoenix.js may send all that it has queued in one. */
const MAX_LONGPOLL_BODY = 8 * 1024 * 1024;

/**
 * Bytes of a poll's URL and headers. Bun answers more than 16 KiB with a bare 431, after which phoenix.js would start a new
 * session every 10 ms. A session whose polls would be that large is refused at its start.
 */
const MAX_HEAD = 15_000;

/** The body of an answer. The HTTP status is always 200: phoenix.js stops polling at any other. */
interface Answer {
  readonly status: 200 | 204 | 403 | 410 | 500;
  readonly token?: string;
  readonly messages?: readonly string[];
}

/** Places for sessions within the limits of connections. Each place taken is released once. */
export interface SessionPlaces {
  /** Whether a session may start. To be asked before a token is given out: phoenix.js counts that as an open connection. */
  mayBegin(peer: Peer): boolean;
  /** Takes a place for a session at its first use; `false` when there is none. */
  take(peer: Peer): boolean;
  release(peer: Peer): void;
}

/** Long polling for phoenix.js: POST for frames to the server, GET for messages to the client. */
export class LongPoll {
  readonly #context: PhoenixContext;
  readonly #places: SessionPlaces;
  readonly #newId: () => string;
  readonly #seal: TicketSeal;
  readonly #clients = new Map<string, LongPollClient>();
  /** Ended sessions whose token could still start one, each with the time at which the token expires. */
  readonly #ended = new Map<string, number>();
  #tickedAt = performance.now();
  #resumedAt = Number.NEGATIVE_INFINITY;

  constructor(context: PhoenixContext, places: SessionPlaces, newId: () => string) {
    this.#context = context;
    this.#places = places;
    this.#newId = newId;
    this.#seal = new TicketSeal(context.hub.node);
  }

  /** The incarnation of the other server that sealed the token of a request; `null` for a token of this one, or none. */
  serverOf({ headers }: Request, query: URLSearchParams): string | null {
    const node = nodeIn(tokenIn(headers, query));
    return node === null || node === this.#context.hub.node ? null : node;
  }

  /** Answers a request whose host and origin are allowed. `headers` are those of CORS. Never rejects. */
  async handle(
    request: Request,
    query: URLSearchParams,
    peer: Peer,
    headers: Readonly<Record<string, string>>,
  ): Promise<Response> {
    try {
      return await this.#answer(request, query, peer, headers);
    } catch (error) {
      this.#context.context.log.debug("a long poll failed", { error: String(error) });
      return respond({ status: 500 }, headers);
    }
  }

  /** The answer to a request whose host or origin is not allowed. */
  forbid(headers: Readonly<Record<string, string>>): Response {
    return respond(this.#forbidden(), headers);
  }

  /** To be called several times a second: ends the sessions without a poll. */
  tick(): void {
    const now = performance.now();
    if (now - this.#tickedAt > SUSPENDED_AFTER) this.#resumedAt = now;
    this.#tickedAt = now;
    for (const client of this.#clients.values()) {
      const { unpolledSince } = client;
      if (unpolledSince === null) continue;
      // Polls that arrived while the process was suspended have not been read yet.
      if (now - Math.max(unpolledSince, this.#resumedAt) > SESSION_TIMEOUT) client.cutOff("silent");
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
    const isPoll = request.method === "GET";
    if (!isPoll && request.method !== "POST") return respond({ status: 500 }, cors);
    const { headers } = request;
    const token = tokenIn(headers, query);
    const ticket = this.#seal.open(token);
    const client = ticket === null ? null : this.#client(ticket, headers, query, peer);
    if (client === "full") return respond({ status: 500 }, cors);
    if (client === null || client.over) {
      if (isPoll) return respond(this.#start(request, query, peer), cors);
      return respond({ status: this.#places.mayBegin(peer) ? 410 : 500 }, cors);
    }
    if (!isPoll) {
      this.#setForwarded(client, headers, peer);
      return respond(await receive(client, request), cors);
    }
    const acknowledged = acknowledgedBy(token);
    const unchanged = acknowledged === null ? withNumber(token, client.number) : token;
    const result = await client.poll(request.signal, acknowledged);
    if (result === "closed") {
      return respond({ status: 410, token: this.#ticket(headers), messages: [] }, cors);
    }
    if (result === "empty") return respond({ status: 204, token: unchanged, messages: [] }, cors);
    const format = answerFormat(withNumber(token, result.number));
    return deliver(result, format, request.signal, { ...cors, "cache-control": "no-store" });
  }

  /**
   * Later joins are decided by the headers of the POST that brings them: browsers send an `Origin` with it, while a page of another
   * site could send a GET without one, with the cookies of its visitor.
   */
  #setForwarded({ session }: LongPollClient, headers: Headers, { https }: Peer): void {
    const { authorizer } = this.#context;
    if (authorizer !== null && session instanceof PhoenixSession)
      session.forwarded = authorizer.headersOf(headers, https);
  }

  /** The token of a new session. Nothing is stored before its first use. */
  #start(request: Request, query: URLSearchParams, peer: Peer): Answer {
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
    count(this.#context.context.stats.refused, "http_403");
    return { status: 403 };
  }

  #ticket(headers: Headers): string {
    const authToken = headers.get("x-phoenix-authtoken");
    return this.#seal.seal({ id: this.#newId(), issuedAt: performance.now(), authToken });
  }

  /** The session of a ticket, started by its first use; `null` when it is over. */
  #client(
    ticket: Ticket,
    headers: Headers,
    query: URLSearchParams,
    peer: Peer,
  ): LongPollClient | "full" | null {
    const known = this.#clients.get(ticket.id);
    if (known !== undefined) return known;
    const codec = vsnCodec(query);
    const expired = performance.now() - ticket.issuedAt > SESSION_TIMEOUT;
    if (expired || codec === undefined || this.#ended.has(ticket.id)) return null;
    if (!this.#places.take(peer)) return "full";
    let session: PhoenixSession | null = null;
    const client = new LongPollClient(this.#context.context, ticket.id, peer.address, {
      wait: POLL_WAIT,
      collect: 0,
      keep: true,
      // A client that recovers counts on getting every message.
      repeatsFirst: () => session?.hasPositions === true,
      onEnd: () => {
        this.#clients.delete(ticket.id);
        this.#ended.set(ticket.id, performance.now() + SESSION_TIMEOUT);
        this.#places.release(peer);
      },
    });
    client.foreign = isForeign(headers, null, false);
    const token = query.get("userToken") || ownToken(headers, query) || ticket.authToken;
    session = new PhoenixSession(this.#context, client, {
      codec,
      binary: false,
      token,
      administrator: null,
    });
    client.session = session;
    this.#clients.set(ticket.id, client);
    client.start();
    return client;
  }
}

/** The token of the session; empty without one. */
function tokenIn(headers: Headers, query: URLSearchParams): string {
  return headers.get("x-phoenix-longpoll-token") ?? query.getAll("token").at(-1) ?? "";
}

/** The `token` in the page's own params. phoenix.js appends the session's token, or sends it in a header. */
function ownToken(headers: Headers, query: URLSearchParams): string | null {
  const tokens = query.getAll("token");
  return tokens.length > 1 || headers.has("x-phoenix-longpoll-token") ? (tokens[0] ?? null) : null;
}

async function receive(client: LongPollClient, request: Request): Promise<Answer> {
  const read = await client.context.inbound.read(request, MAX_LONGPOLL_BODY, client);
  if (!read.ok) return { status: 500 };
  try {
    return await handleFrames(client, request, read.bytes);
  } finally {
    // The body counts until its frames are handled: they may wait for a verification.
    read.release();
  }
}

async function handleFrames(client: LongPollClient, request: Request, body: Uint8Array): Promise<Answer> {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  const type = request.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  const frames = () => (type === "application/x-ndjson" ? framesIn(text) : [text]);
  for (const frame of frames()) {
    if (!isLarger(frame, client.context.maxFrame)) continue;
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

/** Whether a frame has more bytes than the limit. A UTF-16 unit has at most three. */
function isLarger(frame: string | Buffer, limit: number): boolean {
  return frame.length * 3 > limit && Buffer.byteLength(frame) > limit;
}

function respond(answer: Answer, headers: Readonly<Record<string, string>>): Response {
  return Response.json(answer, { headers: { ...headers, "cache-control": "no-store" } });
}

/** Messages are strings that contain JSON. */
function answerFormat(token: string): AnswerFormat {
  return {
    open: `{"status":200,"token":${JSON.stringify(token)},"messages":[`,
    close: "]}",
    contentType: "application/json;charset=utf-8",
    join: (messages) => JSON.stringify(messages).slice(1, -1),
  };
}

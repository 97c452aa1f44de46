import { type PhoenixEndpoint, vsnCodec } from "./endpoint.ts";
import { LongPollClient } from "./longpoll-client.ts";
import { type Ticket, TicketSeal } from "./longpoll-token.ts";
import { PhoenixSession } from "./session.ts";

/** How long a poll waits for a message, and how long a session lives without one, in ms. */
const POLL_WAIT = 10_000;
const POLL_PAUSE = 15_000;

/** Frames in one POST: phoenix.js sends its backlog in batches of so many. */
const MAX_FRAMES = 100;

/** Bytes of one POST: phoenix.js sends its whole backlog at once. */
export const MAX_LONGPOLL_BODY = 8 * 1024 * 1024;

/** The longest bearer token that a session can begin with: the session's own token, part of each URL, holds it. */
const MAX_AUTH_TOKEN = 8 * 1024;

/** What the body of an answer says. HTTP's own status is always 200: phoenix.js takes any other body for the end. */
interface Answer {
  readonly status: 200 | 204 | 403 | 410 | 500;
  readonly token?: string;
  readonly messages?: readonly string[];
}

/** Who asks, after trusted proxies. */
export interface Peer {
  readonly address: string;
  readonly https: boolean;
  readonly loopback: boolean;
}

/** Places for sessions, as for sockets: each one taken is given back once. */
export interface Places {
  /** Whether there is one for this client. */
  take(peer: Peer): boolean;
  release(peer: Peer): void;
}

/** Long polling as phoenix.js speaks it: POST for frames to the server, GET for those that wait for the client. */
export class LongPoll {
  readonly #endpoint: PhoenixEndpoint;
  readonly #places: Places;
  readonly #newId: () => string;
  readonly #seal: TicketSeal;
  readonly #clients = new Map<string, LongPollClient>();
  /** Sessions that ended while their token could still begin one, with the time until which it could. */
  readonly #ended = new Map<string, number>();

  constructor(endpoint: PhoenixEndpoint, places: Places, newId: () => string) {
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
      return respond(await this.#answer(request, query, peer), headers);
    } catch (error) {
      this.#endpoint.house.log.debug("a long poll failed", { error: String(error) });
      return respond({ status: 500 }, headers);
    }
  }

  /** The answer to one who may not be here. */
  forbid(headers: Readonly<Record<string, string>>): Response {
    return respond({ status: 403 }, headers);
  }

  /** To be called several times a second: ends the sessions that nobody polls. */
  tick(): void {
    const now = performance.now();
    for (const client of this.#clients.values()) {
      const { unpolledSince } = client;
      if (unpolledSince !== null && now - unpolledSince > POLL_PAUSE) client.cutOff("silent");
    }
    for (const [id, until] of this.#ended) {
      if (until > now) return;
      this.#ended.delete(id);
    }
  }

  async #answer(request: Request, query: URLSearchParams, peer: Peer): Promise<Answer> {
    const polls = request.method === "GET";
    if (!polls && request.method !== "POST") return { status: 500 };
    const { headers } = request;
    const named = headers.get("x-phoenix-longpoll-token") ?? query.getAll("token").at(-1) ?? "";
    const ticket = this.#seal.open(named);
    const client = ticket === null ? null : this.#client(ticket, headers, query, peer);
    if (client === "full") return { status: 500 };
    if (client === null || ticket === null) return polls ? this.#begin(headers, query) : { status: 410 };
    if (!polls) return receive(client, request);
    const messages = await client.poll(request.signal);
    if (messages === "gone") return this.#begin(headers, query);
    return { status: messages.length === 0 ? 204 : 200, token: named, messages };
  }

  /** A new session's token. Nothing is held for it before it is used. */
  #begin(headers: Headers, query: URLSearchParams): Answer {
    const authToken = headers.get("x-phoenix-authtoken");
    if (vsnCodec(query) === undefined || (authToken?.length ?? 0) > MAX_AUTH_TOKEN) return { status: 403 };
    const ticket = { id: this.#newId(), issuedAt: Date.now(), authToken };
    return { status: 410, token: this.#seal.seal(ticket), messages: [] };
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
    const late = Date.now() - ticket.issuedAt > POLL_PAUSE;
    if (late || codec === undefined || this.#ended.has(ticket.id)) return null;
    if (!this.#places.take(peer)) return "full";
    const client = new LongPollClient(this.#endpoint.house, ticket.id, peer.address, POLL_WAIT, () => {
      this.#clients.delete(ticket.id);
      this.#ended.set(ticket.id, performance.now() + POLL_PAUSE);
      this.#places.release(peer);
    });
    const token = query.get("userToken") ?? ownToken(headers, query) ?? ticket.authToken;
    client.session = new PhoenixSession(this.#endpoint, client, {
      codec,
      binary: false,
      token,
      administrator: null,
    });
    this.#clients.set(ticket.id, client);
    return client;
  }
}

/** The `token` of the page's own params: phoenix.js adds the session's behind it, or sends that in a header. */
function ownToken(headers: Headers, query: URLSearchParams): string | null {
  const tokens = query.getAll("token");
  return tokens.length > 1 || headers.has("x-phoenix-longpoll-token") ? (tokens[0] ?? null) : null;
}

async function receive(client: LongPollClient, request: Request): Promise<Answer> {
  const body = await request.bytes();
  if (body.length > MAX_LONGPOLL_BODY) return { status: 500 };
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  const type = request.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  const frames = type === "application/x-ndjson" ? text.split("\n").filter((line) => line !== "") : [text];
  if (frames.length > MAX_FRAMES) return { status: 500 };
  for (const frame of frames) {
    if (!client.open) return { status: 410 };
    const isText = type !== "application/x-ndjson" || frame.startsWith("[") || frame.startsWith("{");
    client.receive(isText ? frame : Buffer.from(frame, "base64"));
  }
  return { status: 200 };
}

function respond(answer: Answer, headers: Readonly<Record<string, string>>): Response {
  return Response.json(answer, { headers: { ...headers, "cache-control": "no-store" } });
}

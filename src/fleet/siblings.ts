import { timingSafeEqual } from "node:crypto";
import type { Peer } from "../auth/peer.ts";
import { forwardedHeaders, forwardRequest } from "./forward-request.ts";

/** Of a request that another worker passes on: the secret of the machine, a space, and its client as JSON. */
const HEADER = "x-channel-worker";

/** Who sent a request that is passed on. */
export interface PassedClient {
  readonly peer: Peer;
  /** The port of its connection, by which limits know it; `null` if the connection ends after the request. */
  readonly port: number | null;
}

/** The types of browsers hide those of the runtime. */
const BunWebSocket = WebSocket as unknown as new (
  url: string,
  options: Bun.WebSocketOptions,
) => Bun.WebSocket;

export interface SiblingsOptions {
  /** The number of this worker. */
  readonly worker: number;
  /** Workers of this machine. */
  readonly count: number;
  readonly secret: string;
  /** The unix socket of a worker. */
  readonly socketOf: (worker: number) => string;
  /** The number of the worker with an incarnation; `null` if there is none. */
  readonly numberOf: (incarnation: string) => number | null;
}

/** The other workers of this machine, which this one passes requests to. No request is passed on twice. */
export class Siblings {
  readonly #options: SiblingsOptions;
  readonly #secret: Buffer;

  constructor(options: SiblingsOptions) {
    this.#options = options;
    this.#secret = Buffer.from(options.secret);
  }

  get worker(): number {
    return this.#options.worker;
  }

  /** The client of a request that another worker has passed on; `null` for any other request. */
  clientOf(headers: Headers): PassedClient | null {
    const value = headers.get(HEADER);
    if (value === null) return null;
    const end = this.#secret.length;
    const given = Buffer.from(value.slice(0, end));
    if (given.length !== end || !timingSafeEqual(given, this.#secret)) return null;
    return asClient(parse(value.slice(end + 1)));
  }

  /** The other worker that is to get a request for an incarnation; `null` if it is for none, or was passed on already. */
  workerOf(request: Request, incarnation: string): number | null {
    const worker = this.#options.numberOf(incarnation);
    if (worker === null || worker === this.#options.worker) return null;
    return this.clientOf(request.headers) === null ? worker : null;
  }

  /** Rejects if the worker has ended, or does not answer within `timeout` (ms). */
  forward(request: Request, worker: number, client: PassedClient, timeout: number): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    return forwardRequest(request, {
      url: `http://localhost${pathname}${search}`,
      unix: this.#options.socketOf(worker),
      headers: this.#headersOf(client),
      timeout,
    });
  }

  /** What the other workers answer to a request of this one, as JSON; not those that do not answer within `timeout` (ms). */
  async askAll(path: string, timeout: number): Promise<unknown[]> {
    const { count, worker, socketOf } = this.#options;
    const others = Array.from({ length: count }, (_, index) => index + 1).filter((each) => each !== worker);
    const signal = AbortSignal.timeout(timeout);
    const answers = others.map(async (other): Promise<unknown> => {
      const response = await fetch(`http://localhost${path}`, { unix: socketOf(other), signal });
      return response.json();
    });
    const settled = await Promise.allSettled(answers);
    return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  }

  /** A WebSocket to another worker, with the headers of a client's request. */
  open(request: Request, worker: number, client: PassedClient): Bun.WebSocket {
    const { pathname, search } = new URL(request.url);
    const headers = forwardedHeaders(request.headers, this.#headersOf(client));
    for (const name of [...headers.keys()]) if (name.startsWith("sec-websocket-")) headers.delete(name);
    return new BunWebSocket(`ws+unix://${this.#options.socketOf(worker)}:${pathname}${search}`, {
      headers: Object.fromEntries(headers),
    });
  }

  #headersOf({ peer, port }: PassedClient): Readonly<Record<string, string>> {
    const { address, https, loopback } = peer;
    return { [HEADER]: `${this.#options.secret} ${JSON.stringify([address, https, loopback, port])}` };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function asClient(value: unknown): PassedClient | null {
  if (!Array.isArray(value)) return null;
  const [address, https, loopback, port]: unknown[] = value;
  if (typeof address !== "string") return null;
  const peer = { address, https: https === true, loopback: loopback === true };
  return { peer, port: typeof port === "number" ? port : null };
}

import type { Peer } from "../auth/peer.ts";
import { isLoopback } from "../config/config.ts";
import type { Fleet, Peer as OtherServer } from "./fleet.ts";
import { forwardRequest } from "./forward-request.ts";
import type { Siblings } from "./siblings.ts";
import type { Signer } from "./signer.ts";

/** Carries what the first server knows of the client, signed; a request that has it is not forwarded again. */
const HEADER = "x-channel-forwarded";
const SIGNED_NAME = "forward";

/** ms until a request to another server fails: longer than a poll waits there. */
const TIMEOUT = 20_000;

/** ms from its start in which a server may not know the others, and between two looks: requests for them wait meanwhile. */
const KNOWN_AFTER = 3000;
const KNOWN_CHECK = 50;

export interface ForwardingOptions {
  readonly fleet: () => Fleet | null;
  readonly signer: Signer;
  /** Where other servers reach this one. */
  readonly nodeUrl: string | null;
  /** The servers that requests may be forwarded to. */
  readonly nodeUrls: readonly string[];
  /** The other workers of this machine; `null` if there are none. */
  readonly siblings: Siblings | null;
}

/** Sends requests of long-poll sessions to the server that holds the session. Each request is forwarded once at most. */
export class Forwarding {
  readonly #options: ForwardingOptions;
  readonly #startedAt = performance.now();

  constructor(options: ForwardingOptions) {
    this.#options = options;
  }

  /** The client of a request: as the server saw it that forwarded the request; else `peer`. */
  clientOf(request: Request, peer: Peer): Peer {
    return this.#signedPeer(request) ?? peer;
  }

  /**
   * Sends a request to the server of an incarnation. `null` if that one is unknown, is not to be forwarded to, or if the request was
   * forwarded already; rejects if it cannot be reached.
   */
  forward(request: Request, path: string, incarnation: string, peer: Peer): Promise<Response> | null {
    // Another server may have sent it to this machine.
    const worker = this.#options.siblings?.workerOf(request, incarnation) ?? null;
    if (worker !== null)
      return this.#options.siblings?.forward(request, worker, { peer, port: null }, TIMEOUT) ?? null;
    if (this.#options.nodeUrls.length === 0 || this.#signedPeer(request) !== null) return null;
    const url = this.#urlOf(incarnation);
    if (url !== null) return this.#send(`${url}${path}`, request, peer);
    return this.#isNew ? this.#sendWhenKnown(request, path, incarnation, peer) : null;
  }

  /** Whether this server may not know all others yet. */
  get #isNew(): boolean {
    return performance.now() - this.#startedAt < KNOWN_AFTER;
  }

  async #sendWhenKnown(request: Request, path: string, incarnation: string, peer: Peer): Promise<Response> {
    while (this.#isNew && !request.signal.aborted) {
      await Bun.sleep(KNOWN_CHECK);
      const url = this.#urlOf(incarnation);
      if (url !== null) return this.#send(`${url}${path}`, request, peer);
    }
    throw new Error("the server is not known");
  }

  #send(url: string, request: Request, peer: Peer): Promise<Response> {
    const client = JSON.stringify([targetOf(request), peer.address, peer.https, peer.loopback]);
    const signed = this.#options.signer.sign(SIGNED_NAME, Buffer.from(client).toString("base64url"));
    return forwardRequest(request, {
      url: `${url}${new URL(request.url).search}`,
      headers: { [HEADER]: signed },
      timeout: TIMEOUT,
    });
  }

  #urlOf(incarnation: string): string | null {
    const { fleet, nodeUrl, nodeUrls } = this.#options;
    const url = find(fleet(), incarnation)?.report.nodeUrl ?? null;
    return url !== null && url !== nodeUrl && nodeUrls.includes(url) ? url : null;
  }

  #signedPeer(request: Request): Peer | null {
    const header = request.headers.get(HEADER);
    const body = header === null ? null : this.#options.signer.open(SIGNED_NAME, Buffer.from(header));
    if (body === null) return null;
    const fields = parse(Buffer.from(body.toString("latin1"), "base64url").toString("utf8"));
    if (!Array.isArray(fields)) return null;
    const [target, address, https, loopback]: unknown[] = fields;
    if (target !== targetOf(request) || typeof address !== "string") return null;
    return { address, https: https === true, loopback: loopback === true && isLoopback(address) };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A server of another version.
    return null;
  }
}

/** What a signature is for: it must not be usable for another request. */
function targetOf({ method, url, headers }: Request): string {
  const { search } = new URL(url);
  return `${method} ${search} ${headers.get("x-phoenix-longpoll-token") ?? ""}`;
}

function find(fleet: Fleet | null, incarnation: string): OtherServer | null {
  const found = fleet?.others.get(incarnation);
  if (found !== undefined) return found;
  for (const other of fleet?.others.values() ?? []) if (other.previous.includes(incarnation)) return other;
  return null;
}

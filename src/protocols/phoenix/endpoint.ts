import type { Claims, Verify } from "../../auth/token.ts";
import type { Channel } from "../../hub/channel.ts";
import { Deadlines } from "../../hub/deadlines.ts";
import type { Hub } from "../../hub/hub.ts";
import type { House } from "../client.ts";
import type { Publisher } from "../publisher.ts";
import { WebSocketClient } from "../websocket.ts";
import { type Format, FormatOutlet } from "./broadcast.ts";
import { type Codec, V1, V2 } from "./codec.ts";
import type { Membership } from "./membership.ts";
import { PhoenixSession } from "./session.ts";

/** Memberships that may end for their tokens in one tick: many that run out at once are spread over some seconds. */
const EXPIRIES_A_TICK = 200;

const SUBPROTOCOL = "phoenix";
const BEARER = "base64url.bearer.phx.";

export interface PhoenixOptions {
  readonly hub: Hub;
  readonly house: House;
  readonly publisher: Publisher;
  readonly verify: Verify;
  /** Topics that one socket may join. */
  readonly maxChannels: number;
  /** Whether memberships end when their tokens do. */
  readonly closeOnExpiry: boolean;
}

/** Who knocks: what the server found out before any protocol is asked. */
export interface Visitor {
  readonly id: string;
  readonly address: string;
  /** What an administrator's cookie allows; `null` without one. */
  readonly administrator: Claims | null;
}

/** A socket to open, and the subprotocol to select (`""`: none; Bun would echo the first one offered). */
export interface Welcome {
  readonly client: WebSocketClient;
  readonly subprotocol: string;
}

/** Everything that the Phoenix sockets of this server share. */
export class PhoenixEndpoint {
  readonly hub: Hub;
  readonly house: House;
  readonly verify: Verify;
  readonly maxChannels: number;
  readonly #publisher: Publisher;
  readonly #closeOnExpiry: boolean;
  readonly #expiries = new Deadlines<Membership>(Date.now());

  constructor(options: PhoenixOptions) {
    this.hub = options.hub;
    this.house = options.house;
    this.verify = options.verify;
    this.maxChannels = options.maxChannels;
    this.#publisher = options.publisher;
    this.#closeOnExpiry = options.closeOnExpiry;
  }

  /** Opens a socket for an upgrade request, or says in one sentence why not (403). */
  welcome(
    request: Request,
    query: URLSearchParams,
    visitor: Visitor,
  ): Welcome | { readonly refusal: string } {
    const codec = vsnCodec(query);
    if (codec === undefined) return { refusal: "vsn must be 1.0.0 or 2.0.0" };
    const offered = (request.headers.get("sec-websocket-protocol") ?? "")
      .split(",")
      .map((name) => name.trim());
    const client = new WebSocketClient(this.house, visitor.id, visitor.address);
    client.session = new PhoenixSession(this, client, {
      codec,
      binary: query.get("binary") !== "json",
      token: query.get("userToken") || query.get("token") || bearerIn(offered),
      administrator: visitor.administrator,
    });
    return { client, subprotocol: offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : "" };
  }

  /** The outlet of a channel for one format, made when its first member comes. */
  outlet(channel: Channel, format: Format): FormatOutlet {
    for (const outlet of channel.outlets) {
      if (outlet instanceof FormatOutlet && outlet.format === format) return outlet;
    }
    const outlet = new FormatOutlet(channel, format, this.#publisher, this.house.connections);
    channel.addOutlet(outlet);
    return outlet;
  }

  /** Remembers when a membership's token runs out. */
  remember(member: Membership, claims: Claims): void {
    if (this.#closeOnExpiry) member.expirySlot = this.#expiries.add(member, claims.expiresAt);
  }

  forget(member: Membership): void {
    this.#expiries.delete(member, member.expirySlot);
  }

  /** To be called several times a second. */
  tick(): void {
    this.#expiries.due(Date.now(), EXPIRIES_A_TICK, (member) => member.session.expire(member));
  }
}

/**
 * The version that a client asks for; `null` when it asks for none, `undefined` for one that does not exist. Phoenix
 * accepts `~> 1.0.0` and `~> 2.0.0`.
 */
export function vsnCodec(query: URLSearchParams): Codec | null | undefined {
  const vsn = query.get("vsn");
  if (vsn === null) return null;
  const version = /^([12])\.0\.\d+$/.exec(vsn)?.[1];
  if (version === undefined) return undefined;
  return version === "1" ? V1 : V2;
}

/** The token of phoenix.js' `authToken`: the one offered subprotocol that carries it, in base64 without padding. */
function bearerIn(offered: readonly string[]): string | null {
  const bearer = offered.find((name) => name.startsWith(BEARER));
  return bearer === undefined ? null : Buffer.from(bearer.slice(BEARER.length), "base64").toString("utf8");
}

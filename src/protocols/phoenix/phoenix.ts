import type { Verify } from "../../auth/verifier.ts";
import type { Channel } from "../../hub/channel.ts";
import type { Hub } from "../../hub/hub.ts";
import type { Publisher } from "../../hub/publisher.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import { WebSocketClient } from "../../transports/websocket.ts";
import { type Accepted, offered, type Protocol, type Rejection, type UpgradeRequest } from "../protocol.ts";
import { type Format, FormatOutlet } from "./format.ts";
import { type Codec, V1, V2 } from "./phoenix-codec.ts";
import { type PhoenixContext, PhoenixSession } from "./phoenix-session.ts";

const SUBPROTOCOL = "phoenix";
const BEARER = "base64url.bearer.phx.";

export interface PhoenixOptions {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly publisher: Publisher;
  readonly verify: Verify;
  /** Topics that one socket may join. */
  readonly maxChannels: number;
}

/** Everything that the Phoenix sockets of this server share. */
export class PhoenixProtocol implements Protocol, PhoenixContext {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly verify: Verify;
  readonly maxChannels: number;
  readonly #publisher: Publisher;

  constructor(options: PhoenixOptions) {
    this.hub = options.hub;
    this.context = options.context;
    this.verify = options.verify;
    this.maxChannels = options.maxChannels;
    this.#publisher = options.publisher;
  }

  matches({ headers, query }: UpgradeRequest): boolean {
    return offered(headers).includes(SUBPROTOCOL) || query.has("vsn") || query.has("userToken");
  }

  accept({ id, address, headers, query, sameOrigin, administrator }: UpgradeRequest): Accepted | Rejection {
    const codec = vsnCodec(query);
    if (codec === undefined) return { refusal: "vsn must be 1.0.0 or 2.0.0" };
    const protocols = offered(headers);
    const client = new WebSocketClient(this.context, id, address);
    client.foreign = !sameOrigin;
    client.session = new PhoenixSession(this, client, {
      codec,
      binary: query.get("binary") !== "json",
      token: query.get("userToken") || query.get("token") || bearerIn(protocols),
      administrator,
    });
    return { client, subprotocol: protocols.includes(SUBPROTOCOL) ? SUBPROTOCOL : "" };
  }

  outlet(channel: Channel, format: Format): FormatOutlet {
    for (const outlet of channel.outlets) {
      if (outlet instanceof FormatOutlet && outlet.format === format) return outlet;
    }
    const outlet = new FormatOutlet(channel, format, this.#publisher, this.context.connections);
    channel.addOutlet(outlet);
    return outlet;
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
function bearerIn(protocols: readonly string[]): string | null {
  const bearer = protocols.find((name) => name.startsWith(BEARER));
  return bearer === undefined ? null : Buffer.from(bearer.slice(BEARER.length), "base64").toString("utf8");
}

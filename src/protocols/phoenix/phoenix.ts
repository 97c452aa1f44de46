import { Rejection } from "../../auth/rejection.ts";
import type { Verify } from "../../auth/verifier.ts";
import type { Authorizer } from "../../hooks/authorizer.ts";
import type { Channel, Receiver } from "../../hub/channel.ts";
import { Fanout, type FanoutContext } from "../../hub/fanout.ts";
import type { Hub } from "../../hub/hub.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import { WebSocketClient } from "../../transports/websocket.ts";
import {
  type Accepted,
  type CreateProtocol,
  offered,
  type Protocol,
  type ProtocolRoute,
  type SocketRequest,
  type UpgradeRequest,
} from "../protocol.ts";
import type { Format } from "./format.ts";
import { countedPlaces, createLongPollRoute } from "./longpoll-route.ts";
import { vsnCodec } from "./phoenix-codec.ts";
import type { PhoenixContext } from "./phoenix-context.ts";
import { PhoenixEncoder, type PhoenixFanout } from "./phoenix-encoder.ts";
import { LongPoll } from "./phoenix-longpoll.ts";
import { PhoenixSession } from "./phoenix-session.ts";
import { PositionFanout } from "./position-fanout.ts";
import { Recoveries } from "./recoveries.ts";

const SUBPROTOCOL = "phoenix";
const BEARER = "base64url.bearer.phx.";

/** phoenix.js appends these to its endpoint's path. */
const SOCKET_SUFFIX = "/websocket";
const LONG_POLL_SUFFIX = "/longpoll";

export const createPhoenix: CreateProtocol = (deps) => {
  const { limits, rules, places, newId, forwarding } = deps;
  const phoenix = new PhoenixProtocol({ ...deps, ...limits });
  const longPoll = new LongPoll(phoenix, countedPlaces(places, deps.context.stats), newId);
  phoenix.longPoll = { poll: longPoll, route: createLongPollRoute(longPoll, rules, forwarding) };
  return phoenix;
};

export interface PhoenixOptions {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly fanouts: FanoutContext;
  readonly verify: Verify;
  /** Topics that one socket may join. */
  readonly maxChannels: number;
  readonly clientEventsPerSecond: number;
  readonly authorizer?: Authorizer | null;
}

/** Phoenix Channels, over sockets and long polling. */
export class PhoenixProtocol implements Protocol, PhoenixContext {
  readonly name = "phoenix";
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly verify: Verify;
  readonly maxChannels: number;
  readonly clientEventsPerSecond: number;
  readonly authorizer: Authorizer | null;
  readonly recoveries = new Recoveries();
  /** `null` without long polling. */
  longPoll: { readonly poll: LongPoll; readonly route: ProtocolRoute } | null = null;
  readonly #fanouts: FanoutContext;

  constructor(options: PhoenixOptions) {
    this.hub = options.hub;
    this.context = options.context;
    this.verify = options.verify;
    this.maxChannels = options.maxChannels;
    this.clientEventsPerSecond = options.clientEventsPerSecond;
    this.authorizer = options.authorizer ?? null;
    this.#fanouts = options.fanouts;
  }

  opensAt(path: string): boolean {
    return path.endsWith(SOCKET_SUFFIX);
  }

  matches({ headers, query }: SocketRequest): boolean {
    return offered(headers).includes(SUBPROTOCOL) || query.has("vsn") || query.has("userToken");
  }

  accept(request: UpgradeRequest): Accepted | Rejection {
    const { id, address, headers, query, sameOrigin, https, administrator } = request;
    const codec = vsnCodec(query);
    if (codec === undefined) return new Rejection(403, "bad_version", "vsn must be 1.0.0 or 2.0.0");
    const protocols = offered(headers);
    const client = new WebSocketClient(this.context, id, address);
    client.foreign = !sameOrigin;
    client.session = new PhoenixSession(this, client, {
      codec,
      binary: query.get("binary") !== "json",
      token: query.get("userToken") || query.get("token") || bearerIn(protocols),
      administrator,
      ...(this.authorizer === null ? {} : { forwarded: this.authorizer.headersOf(headers, https) }),
    });
    return { client, subprotocol: protocols.includes(SUBPROTOCOL) ? SUBPROTOCOL : "" };
  }

  routes(path: string): ProtocolRoute | null {
    return path.endsWith(LONG_POLL_SUFFIX) ? (this.longPoll?.route ?? null) : null;
  }

  tick(): void {
    this.longPoll?.poll.tick();
    this.recoveries.tick();
  }

  stop(): void {
    this.recoveries.stop();
  }

  fanout(channel: Channel, format: Format): PhoenixFanout {
    for (const receiver of channel.receivers) if (isOf(receiver, format)) return receiver;
    const topic = `${format.name}\u0000${channel.name}`;
    const { positions } = this.hub;
    const encoder = new PhoenixEncoder(channel, format, positions);
    const fanout = format.positions
      ? new PositionFanout(topic, encoder, channel, this.#fanouts, positions, this.recoveries.late)
      : new Fanout(topic, encoder, channel, this.#fanouts);
    channel.addReceiver(fanout);
    return fanout;
  }
}

function isOf(receiver: Receiver, format: Format): receiver is PhoenixFanout {
  return (
    receiver instanceof Fanout &&
    receiver.encoder instanceof PhoenixEncoder &&
    receiver.encoder.format === format
  );
}

/** The token of phoenix.js' `authToken`: the one offered subprotocol that carries it, in base64 without padding. */
function bearerIn(protocols: readonly string[]): string | null {
  const bearer = protocols.find((name) => name.startsWith(BEARER));
  return bearer === undefined ? null : Buffer.from(bearer.slice(BEARER.length), "base64").toString("utf8");
}

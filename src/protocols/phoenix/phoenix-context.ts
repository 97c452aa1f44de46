import type { Claims, Verify } from "../../auth/verifier.ts";
import type { Authorizer, ForwardedHeaders } from "../../hooks/authorizer.ts";
import type { Channel } from "../../hub/channel.ts";
import type { Hub } from "../../hub/hub.ts";
import type { ConnectionContext } from "../../transports/connection-context.ts";
import type { Format } from "./format.ts";
import type { Codec } from "./phoenix-codec.ts";
import type { PhoenixFanout } from "./phoenix-encoder.ts";
import type { Recoveries } from "./recoveries.ts";

/** Shared by the sessions of this protocol. */
export interface PhoenixContext {
  readonly hub: Hub;
  readonly context: ConnectionContext;
  readonly verify: Verify;
  /** Topics that one client may join. */
  readonly maxChannels: number;
  /** Pushes per second of one client that other members get. */
  readonly clientEventsPerSecond: number;
  readonly recoveries: Recoveries;
  /** Asks the application; `null` if no channel has `authorize`. */
  readonly authorizer: Authorizer | null;
  /** The fanout of a channel and format, created for its first member. */
  fanout(channel: Channel, format: Format): PhoenixFanout;
}

/** What a client asks for when it connects. */
export interface Opening {
  /** The requested version; `null`: the first frame decides. */
  readonly codec: Codec | null;
  /** Whether the client accepts binary frames. */
  readonly binary: boolean;
  /** The socket's token, for joins without one. */
  readonly token: string | null;
  /** The claims of an administrator's cookie, sent by one of this server's own pages. */
  readonly administrator: Claims | null;
  /** Headers of its request for the application; none by default. */
  readonly forwarded?: ForwardedHeaders;
}

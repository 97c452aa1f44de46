import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../integration/redis-process.ts";
import { centrifugo as dialect } from "../dialects/centrifugo.ts";
import { CACHE, type Peer } from "../peer.ts";
import { launchOn, SECRET, type ServerOptions } from "../servers.ts";

/** The release that is measured, as a Go module. */
export const MODULE = "github.com/centrifugal/centrifugo/v6@v6.9.1";
export const BUILT = join(CACHE, "centrifugo");

/** Where its executable may be. */
function executable(): string | undefined {
  const { CENTRIFUGO_BIN } = process.env;
  const places =
    CENTRIFUGO_BIN === undefined
      ? [join(BUILT, "centrifugo"), Bun.which("centrifugo"), join(homedir(), "go/bin/centrifugo")]
      : [CENTRIFUGO_BIN];
  return places.find((place) => place !== null && existsSync(place)) ?? undefined;
}

function lacks(): string | null {
  return executable() === undefined
    ? `there is no centrifugo: npm run bench:peers, or go install ${MODULE}, or CENTRIFUGO_BIN`
    : null;
}

/** With its Redis engine; tokens are checked when a channel is joined, connecting needs none. */
export const centrifugo: Peer = {
  name: "centrifugo",
  dialect,
  lacks,
  start: (options) => start(options, {}),
};

/** The same with presence in Redis, and members notified of who joins and leaves. */
export const centrifugoWithPresence: Peer = {
  name: "centrifugo+presence",
  dialect,
  only: ["joined", "presence"],
  // Members are notified of each join by itself: 5,000 in one channel take minutes.
  most: { presence: 1 },
  lacks,
  start: (options) =>
    start(options, {
      CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_PRESENCE: "true",
      CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_JOIN_LEAVE: "true",
      CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_FORCE_PUSH_JOIN_LEAVE: "true",
    }),
};

function start(options: ServerOptions, channel: Readonly<Record<string, string>>) {
  const port = freePort();
  const env = {
    ...options.env,
    CENTRIFUGO_HTTP_SERVER_ADDRESS: "127.0.0.1",
    CENTRIFUGO_HTTP_SERVER_PORT: String(port),
    CENTRIFUGO_LOG_LEVEL: "error",
    CENTRIFUGO_ENGINE_TYPE: "redis",
    CENTRIFUGO_ENGINE_REDIS_ADDRESS: options.redisUrl,
    CENTRIFUGO_CLIENT_ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN: "true",
    CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY: SECRET,
    // The generator answers no pings of this protocol; a run is shorter than this.
    CENTRIFUGO_CLIENT_PING_INTERVAL: "1h",
    CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_PUBLISH_FOR_CLIENT: "true",
    CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_PUBLISH_FOR_ANONYMOUS: "true",
    ...channel,
  };
  return launchOn(port, "/connection/websocket", [executable() ?? "centrifugo"], { env });
}

import type { BunRequest, Server } from "bun";
import type { Config, Limits } from "../config/config.ts";
import type { Log } from "../log.ts";
import { type WebSocketClient, webSocketHandler } from "../transports/websocket.ts";
import { type ConnectLimiter, KEEP_ALIVE_SECS } from "./connect-limiter.ts";
import type { Entry } from "./entry.ts";
import { type Listeners, listen } from "./listeners.ts";
import { pathPatterns } from "./raw-path.ts";

/** Bytes by which Bun's body limit exceeds `limits.max_body`: Bun's own 413 has no body, ours names the setting. */
const BODY_MARGIN = 16 * 1024 * 1024;

export interface ServeOptions {
  readonly config: Config;
  readonly limits: Limits;
  readonly entry: Entry;
  readonly limiter: ConnectLimiter;
  readonly log: Log;
  /** As `shared` of `listen`. */
  readonly sharesPort: boolean;
}

/** Starts Bun's HTTP and WebSocket server on all addresses of `config.host`. Rejects as `listen` does. */
export function serve({ config, limits, entry, limiter, log, sharesPort }: ServeOptions): Promise<Listeners> {
  const handle = (request: BunRequest, bun: Server<WebSocketClient>) => entry.handle(request, bun);
  const routes = Object.fromEntries(pathPatterns().map((pattern) => [pattern, handle]));
  return listen(config.host, config.port, sharesPort, (where) =>
    Bun.serve<WebSocketClient>({
      ...where,
      development: false,
      idleTimeout: KEEP_ALIVE_SECS,
      maxRequestBodySize: Math.max(limits.maxBody, limits.maxPayload) + BODY_MARGIN,
      ...(config.tls === null ? {} : { tls: config.tls }),
      routes,
      fetch: (request) => entry.rejectPath(request),
      error(error) {
        log.error("a request failed", { error: error.message });
        return entry.rejectFailure();
      },
      websocket: webSocketHandler(
        { maxFrame: limits.maxFrame, maxBuffered: limits.maxBufferedPerClient },
        (client) => limiter.release(client),
      ),
    }),
  );
}

import type { BunRequest, Server } from "bun";
import type { Config, Limits } from "../config/config.ts";
import type { Log } from "../log.ts";
import { type SocketHandler, WebSocketClient, webSocketHandler } from "../transports/websocket.ts";
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
export function serve(options: ServeOptions): Promise<Listeners> {
  const { config, sharesPort } = options;
  return listen(config.host, config.port, sharesPort, (where) =>
    Bun.serve<SocketHandler>({
      ...where,
      idleTimeout: KEEP_ALIVE_SECS,
      ...serverOptions(options),
      ...(config.tls === null ? {} : { tls: config.tls }),
    }),
  );
}

/** What all listening sockets of this process have in common. */
export function serverOptions({ limits, entry, limiter, log }: Omit<ServeOptions, "config" | "sharesPort">) {
  const handle = (request: BunRequest, bun: Server<SocketHandler>) => entry.handle(request, bun);
  return {
    development: false,
    maxRequestBodySize: Math.max(limits.maxBody, limits.maxPayload) + BODY_MARGIN,
    routes: Object.fromEntries(pathPatterns().map((pattern) => [pattern, handle])),
    fetch: (request: Request) => entry.rejectPath(request),
    error(error: Error) {
      log.error("a request failed", { error: error.message });
      return entry.rejectFailure();
    },
    websocket: webSocketHandler(
      { maxFrame: limits.maxFrame, maxBuffered: limits.maxBufferedPerClient },
      (handler) => {
        // The worker that handles a relayed socket counts it.
        if (handler instanceof WebSocketClient) limiter.release(handler);
      },
    ),
  };
}

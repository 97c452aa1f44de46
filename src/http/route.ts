import type { Peer } from "../auth/peer.ts";

export type Handler = (request: Request, peer: Peer) => Response | Promise<Response>;

/** The handlers of one path. `GET` also handles `HEAD`: Bun omits the body. */
export interface Route {
  readonly GET?: Handler;
  readonly POST?: Handler;
  readonly DELETE?: Handler;
  /** Whether pages of allowed origins may call it and read the response (CORS). */
  readonly cors?: true;
  /** Whether a file in `static_path` replaces it. */
  readonly page?: true;
}

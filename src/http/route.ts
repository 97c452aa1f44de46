import type { Peer } from "../auth/peer.ts";

export type Handler = (request: Request, peer: Peer) => Response | Promise<Response>;

/** What one address does. `GET` answers `HEAD` too: Bun leaves the body out. */
export interface Route {
  readonly GET?: Handler;
  readonly POST?: Handler;
  readonly DELETE?: Handler;
  /** Open to pages of the allowed origins, which may read what it answers. */
  readonly cors?: true;
  /** A page of ours, in whose place a file of `static_path` stands. */
  readonly page?: true;
}

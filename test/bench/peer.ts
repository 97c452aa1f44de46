import { join } from "node:path";
import type { Contender } from "./servers.ts";

/** A contender that wants more than this repository has. */
export interface Peer extends Contender {
  /** What is missing on this machine to run it, in a sentence; `null`: nothing. */
  lacks(): string | null;
}

/** What `npm run bench:peers` builds. */
export const CACHE = join(import.meta.dir, "../../node_modules/.cache/channel/bench");

// Type only: the schema library is loaded with the API.
import type { Snapshot } from "./snapshot-schema.ts";

/** The sums of all servers. */
export interface FleetSnapshot extends Snapshot {
  /** Incarnations of the servers summed: rates are meaningful only between snapshots of the same servers. */
  readonly servers: readonly string[];
}

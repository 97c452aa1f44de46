import type { Connections } from "./connections.ts";
import type { Identity } from "./identity.ts";
import { randomId } from "./random-id.ts";

/** Returns ids that no connection has: the incarnation of this server, then `length` random characters. */
export function createConnectionIds(
  connections: Connections,
  length: number,
  identity: Identity,
): () => string {
  return () => {
    // Longer after each collision, so that it ends whatever the length is.
    for (let size = length; ; size++) {
      const id = identity.incarnation + randomId(size);
      if (!connections.has(id)) return id;
    }
  };
}

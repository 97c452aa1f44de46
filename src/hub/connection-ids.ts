import type { Connections } from "./connections.ts";
import { randomId } from "./random-id.ts";

/** Returns ids that no connection has, of `length` characters. */
export function createConnectionIds(connections: Connections, length: number): () => string {
  return () => {
    // Longer after each collision, so that it ends whatever the length is.
    for (let size = length; ; size++) {
      const id = randomId(size);
      if (!connections.has(id)) return id;
    }
  };
}

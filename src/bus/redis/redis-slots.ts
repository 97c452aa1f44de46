import type { HostPort } from "./redis-address.ts";

/** The nodes in a reply to `CLUSTER SLOTS`, each once; empty for any other reply. */
export function readSlots(slots: unknown): HostPort[] {
  const nodes = new Map<string, HostPort>();
  for (const range of Array.isArray(slots) ? slots : []) {
    // First and last slot, then its nodes: [address, port, id, ...].
    for (const node of Array.isArray(range) ? range.slice(2) : []) {
      const [host, port]: unknown[] = Array.isArray(node) ? node : [];
      if (typeof host !== "string" || host === "" || typeof port !== "number") continue;
      nodes.set(`${host} ${port}`, { host, port });
    }
  }
  return [...nodes.values()];
}

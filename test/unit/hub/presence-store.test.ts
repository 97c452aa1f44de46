import { MemoryPresenceStore } from "../../../src/hub/presence/memory-presence.ts";
import { connectStores } from "./connected-presence.ts";
import { testContract } from "./presence-contract.ts";

testContract({
  name: "memory",
  create: () => new MemoryPresenceStore(),
  connect: null,
  exportsItself: false,
});

// In tests only: proves that a store which servers share needs no change of the hub.
testContract({
  name: "connected",
  create: () => connectStores(1)[0] ?? new MemoryPresenceStore(),
  connect: async (servers) => connectStores(servers),
  exportsItself: false,
});

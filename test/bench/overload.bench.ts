import type { Connection } from "../../src/hub/connection.ts";
import { Connections } from "../../src/hub/connections.ts";

/**
 * What it costs to keep to the budget of all buffers in one turn of the event loop: `npx bun test/bench/overload.bench.ts`.
 * 50,000 connections hold 20 KB each, twice the budget; 1,000 messages of 100 B go to all of them.
 */
const CONNECTIONS = 50_000;
const SENDS = 1_000;
const BYTES = 100;
const WAITING = 20_000;
const BUDGET = 512 << 20;
const ROUNDS = 5;

function slow(id: string): Connection {
  return {
    id,
    protocol: "phoenix",
    address: "192.0.2.1",
    openedAt: 0,
    lastSeen: performance.now(),
    idleSince: null,
    users: [],
    channels: [],
    wasCutOff: false,
    buffered: () => WAITING,
    listening: () => null,
    reliesOn: () => false,
    checkBacklog() {},
    ping() {},
    draining() {},
    close() {},
    dismiss() {},
    finish() {},
    cutOff() {
      Object.assign(this, { wasCutOff: true });
    },
  };
}

for (let round = 0; round < ROUNDS; round++) {
  const connections = new Connections({ idleTimeout: 60_000, maxBuffered: BUDGET });
  for (let i = 0; i < CONNECTIONS; i++) connections.add(slow(`${i}`));
  connections.noticeBacklog();
  const start = Bun.nanoseconds();
  for (let send = 0; send < SENDS; send++) connections.expect(BYTES * CONNECTIONS);
  const took = (Bun.nanoseconds() - start) / 1e6;
  connections.stop();
  console.log(`${SENDS} sends to ${CONNECTIONS} connections in one turn: ${took.toFixed(1)} ms`);
}

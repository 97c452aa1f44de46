import { Connections } from "../../../src/hub/connections.ts";
import { InboundBudget } from "../../../src/hub/inbound-budget.ts";
import { createStats } from "../../../src/hub/stats.ts";
import type { Log } from "../../../src/log.ts";
import { ConnectionContext } from "../../../src/transports/connection-context.ts";

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** A context without a hub. Its `connections` have to be stopped. */
export function createContext(maxBuffered: number): ConnectionContext {
  return new ConnectionContext({
    connections: new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 30 }),
    stats: createStats(),
    log: SILENT,
    framesPerSecond: 1_000,
    bytesPerSecond: 1 << 20,
    bytesPerSecondPerIp: 1 << 22,
    inbound: new InboundBudget({ maxInbound: 64 << 20, frameTimeout: 10_000 }),
    maxFrame: 1 << 20,
    maxBuffered,
    closeOnExpiry: true,
  });
}

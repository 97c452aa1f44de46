import type { Bus, BusListener } from "../../src/bus/bus.ts";
import { Connections } from "../../src/hub/connections.ts";
import { Hub } from "../../src/hub/hub.ts";
import { MemoryPresenceStore } from "../../src/hub/presence/memory-presence.ts";
import { createStats } from "../../src/hub/stats.ts";
import type { Log } from "../../src/log.ts";

/**
 * What the hub spends on a message of 100 B by the number of names in use: `npx bun test/bench/names.bench.ts`. Each name is
 * used in turn, which is the worst for any cache; once with a listener for each channel, once with none.
 */
const SIZES = [1_000, 20_000, 21_000, 100_000, 1_000_000];
const LEAST_MESSAGES = 500_000;
const ROUNDS = 3;

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };
const payload = Buffer.from(JSON.stringify({ el: "uptime", value: "x".repeat(70) }));

function start(): { hub: Hub; listener: BusListener } {
  let listener: BusListener | null = null;
  const bus: Bus = {
    kind: "redis",
    state: { live: true, detail: "", gaps: 0, since: 0 },
    subscribe: async (_families, to) => {
      listener = to;
    },
    hears: () => true,
    publish() {},
    stop: async () => {},
  };
  const hub = new Hub({
    bus,
    connections: new Connections({ idleTimeout: 60_000, maxBuffered: 1 << 30 }),
    stats: createStats(),
    log: quiet,
    presence: new MemoryPresenceStore(),
    node: "n1",
    presenceWindow: 50,
    maxPayload: 4096,
    datetime: false,
    adminEvents: false,
    presenceEvents: true,
    history: null,
    rulesFor: () => ({ presence: false, presenceMeta: false, namesSender: false, history: null }),
  });
  hub.start();
  void bus.subscribe(["to"], hub);
  if (listener === null) throw new Error("the bus was not started");
  return { hub, listener };
}

/** Nanoseconds a message, and MB that the process grew by since the channels were there. */
function measure(size: number, heard: boolean): { ns: number; mb: number } {
  const { hub, listener } = start();
  let delivered = 0;
  const receiver = { protocol: "phoenix", listeners: 1, deliver: () => ++delivered };
  const names: Buffer[] = [];
  for (let i = 0; i < size; i++) {
    const channel = `streaming-${i.toString(36).padStart(8, "0")}`;
    names.push(Buffer.from(`to:${channel}:new-jet1090-data`));
    if (heard) hub.open(channel).addReceiver(receiver);
  }
  Bun.gc(true);
  const before = process.memoryUsage().rss;
  const rounds = Math.max(2, Math.ceil(LEAST_MESSAGES / size));
  for (const name of names) listener.message(name, payload);
  // CPU time, not time: what else the machine does counts less.
  const began = process.cpuUsage();
  for (let round = 0; round < rounds; round++) for (const name of names) listener.message(name, payload);
  const { user, system } = process.cpuUsage(began);
  const ns = ((user + system) * 1000) / (rounds * size);
  const mb = (process.memoryUsage().rss - before) / 1e6;
  hub.stop();
  hub.connections.stop();
  return { ns, mb };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

measure(1000, true);
console.log("names       heard, ns   unheard, ns   MB more (heard)");
for (const size of SIZES) {
  const heard = Array.from({ length: ROUNDS }, () => measure(size, true));
  const unheard = Array.from({ length: ROUNDS }, () => measure(size, false));
  const columns = [
    median(heard.map(({ ns }) => ns)).toFixed(0),
    median(unheard.map(({ ns }) => ns)).toFixed(0),
    median(heard.map(({ mb }) => mb)).toFixed(0),
  ];
  console.log(
    `${String(size).padEnd(9)} ${columns[0]?.padStart(11)} ${columns[1]?.padStart(13)} ${columns[2]?.padStart(17)}`,
  );
}

/**
 * What looking costs: `npx bun test/bench/inspection.ts`. The server's CPU time for each delivery while nobody looks, and
 * while the admin page is open on another channel: its inspector, and its look at counters and channels every 2 s.
 * Rounds of both kinds take turns on one server, so that whatever else the machine does falls on both.
 */
import { parseArgs } from "node:util";
import { cpuMs } from "../../src/bench/process-times.ts";
import { readAlong } from "../integration/api-client.ts";
import { ADMIN_SECRET, startWorld } from "../integration/world.ts";

const { rounds, seconds, rate } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    seconds: { type: "string", default: "4" },
    rate: { type: "string", default: "4000" },
  },
}).values;

const CLIENTS = 100;
const PAUSE = 2000;

const world = await startWorld("redis");
let received = 0;
for (let i = 0; i < CLIENTS; i++) {
  const token = world.token(`own:${i}`);
  const socket = new WebSocket(`${world.channel.url.replace("http", "ws")}/websocket?vsn=2.0.0`);
  socket.onmessage = () => void received++;
  await new Promise((resolve) => {
    socket.onopen = resolve;
  });
  socket.send(JSON.stringify(["1", "1", `own:${i}`, "phx_join", { token }]));
}
const payload = JSON.stringify({ text: "x".repeat(80) });

/** Publishes for a while; gives the server's CPU time for each delivery, in us. */
async function round(): Promise<number> {
  await Bun.sleep(500);
  const before = { cpu: cpuMs(world.channel.pid), received };
  const began = performance.now();
  for (let sent = 0; performance.now() - began < Number(seconds) * 1000; ) {
    const due = ((performance.now() - began) / 1000) * Number(rate);
    for (; sent < due; sent++) void world.backend.publish(`to:own:${sent % CLIENTS}:tick`, payload);
    await Bun.sleep(5);
  }
  await Bun.sleep(500);
  const cpu = cpuMs(world.channel.pid) - before.cpu;
  return (cpu * 1000) / (received - before.received);
}

/** The admin page on another channel, as far as the server sees it. */
async function look(): Promise<() => void> {
  const stream = await readAlong(world.channel.url, "another");
  const headers = { authorization: `Bearer ${ADMIN_SECRET}` };
  const timer = setInterval(async () => {
    for (const path of ["/api/stats", "/api/channels/another", "/api/channels?sort=rate&limit=40"]) {
      await (await fetch(world.channel.url + path, { headers })).text();
    }
  }, PAUSE);
  return () => {
    clearInterval(timer);
    stream.stop();
  };
}

const figures: { readonly closed: number[]; readonly open: number[] } = { closed: [], open: [] };
await round();
for (let i = 0; i < Number(rounds); i++) {
  // The order changes, so that a machine that slows down is nobody's fault.
  for (const kind of i % 2 === 0 ? (["closed", "open"] as const) : (["open", "closed"] as const)) {
    const stop = kind === "open" ? await look() : () => {};
    figures[kind].push(await round());
    stop();
  }
}
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const [closed, open] = [median(figures.closed), median(figures.open)];
console.log(`CPU of the server for each delivery, median of ${rounds} rounds:`);
console.log(`  nobody looks           ${closed.toFixed(2)} us`);
console.log(`  the page is open       ${open.toFixed(2)} us (${((open / closed - 1) * 100).toFixed(1)} %)`);
await world.stop();
process.exit(0);

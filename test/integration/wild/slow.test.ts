import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { PhoenixClient } from "../phoenix-client.ts";
import { RETURNS_MEMORY, startWorld } from "../world.ts";
import { metric, type Poller, startPoller } from "./poller.ts";

const LONG = process.env.CHANNEL_LONG === "1";
const MiB = 1024 * 1024;

/** All together may have 64 MiB waiting, each 8 MiB, and there are enough of them to want five times as much. */
const CROWD = 40;
const MAX_BUFFERED = 64 * MiB;
const SIZE = 200_000;
/** Besides its budget the kernel holds some megabytes for each connection: more than both is sent. */
const COUNT = 120;

/** Resident memory of a process, in bytes. */
function residentOf(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1024;
}

describe("a crowd that stops reading", () => {
  for (const transport of ["websocket", "longpoll"] as const) {
    test(`is cut off within the budget of all, costs no one else a message, and gives its memory back, over ${transport}`, async () => {
      const world = await startWorld("redis", {
        toml: `presence_window = "10ms"\n[limits]\nmax_buffered = "64MiB"\nmax_buffered_per_client = "8MiB"\n`,
        env: RETURNS_MEMORY,
      });
      const { url, pid } = world.channel;
      try {
        const quick = await world.connect();
        await quick.join("busy", { token: world.token("busy", { id: "quick" }) });
        const stalled: PhoenixClient[] = [];
        const unpolled: Poller[] = [];
        const token = world.token("busy", { id: "slow" });
        for (let i = 0; i < CROWD; i++) {
          if (transport === "websocket") {
            const client = await world.connect();
            await client.join("busy", { token });
            await client.fence();
            client.socket.pause();
            stalled.push(client);
          } else {
            const poller = await startPoller(url);
            await poller.post(JSON.stringify(["1", "1", "busy", "phx_join", { token }]));
            await poller.until(({ ref }) => ref === "1");
            unpolled.push(poller);
          }
        }
        const atRest = residentOf(pid);
        let peak = 0;
        let waited = 0;
        const fill = "x".repeat(SIZE);
        for (let i = 0; i < COUNT; i++) {
          await world.backend.publish("to:busy:n", JSON.stringify({ i, fill }));
          // In the long run as fast as Tangram's busiest plugin, else as fast as it goes.
          if (LONG) await Bun.sleep(1000);
          if (i % 4 === 0) {
            waited = Math.max(waited, await metric(url, "channel_buffered_bytes"));
            // Not more than a few of them come in one turn, however late a busy machine lets the server read.
            await quick.frames.until(({ event, payload }) => event === "n" && Object(payload).i === i);
          }
          peak = Math.max(peak, residentOf(pid));
        }
        await world.backend.publish("to:busy:last", "1");
        await quick.event("last");
        const got = quick.frames.all
          .filter(({ event }) => event === "n")
          .map(({ payload }) => Object(payload).i);
        expect(got).toEqual(Array.from({ length: COUNT }, (_, i) => i));

        // The budget holds up to what one turn of the event loop brings, a few messages, of which each slow one has a copy.
        expect(waited).toBeGreaterThan(0);
        expect(waited).toBeLessThan(MAX_BUFFERED + 6 * CROWD * SIZE);
        // Bun's buffers grow by doubling, so that what waits takes up to twice its size.
        expect(peak - atRest).toBeLessThan(3 * MAX_BUFFERED + 32 * MiB);
        for (const client of stalled) {
          client.socket.resume();
          expect((await client.socket.closed).code).toBe(1006);
        }
        for (const poller of unpolled) expect((await poller.poll()).status).toBe(410);
        // On a machine so busy that this takes as long, who does not poll or answer pings may be ended for that first.
        const [slow = 0, silent = 0] = await Promise.all(
          ["slow", "silent"].map((reason) => metric(url, `channel_disconnects_total{reason="${reason}"}`)),
        );
        expect(slow).toBeGreaterThan(0);
        expect(slow + silent).toBe(CROWD);
        expect(await metric(url, 'channel_connections{protocol="phoenix"}')).toBe(1);
        expect(await metric(url, "channel_buffered_bytes")).toBe(0);
        for (let i = 0; i < 20 && residentOf(pid) > atRest + MAX_BUFFERED; i++) await Bun.sleep(250);
        expect(residentOf(pid) - atRest).toBeLessThan(MAX_BUFFERED);
        expect(world.channel.lines.filter(({ level }) => level === "error")).toEqual([]);
      } finally {
        await world.stop();
      }
    }, 240_000);
  }
});

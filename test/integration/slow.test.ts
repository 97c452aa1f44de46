import { describe, expect, test } from "bun:test";
import { eventually, VERSIONS } from "./phoenix-client.ts";
import { BUSES, startWorld } from "./world.ts";

const SIZE = 60_000;
/** Enough to fill the kernel's buffers of a loopback connection and the client's backlog. */
const COUNT = 400;

describe.concurrent("a client too slow to read", () => {
  for (const bus of BUSES) {
    test(`is disconnected, its presence ends, and other clients lose no message, on ${bus}`, async () => {
      const world = await startWorld(bus, {
        toml: `presence_window = "10ms"\n[limits]\nmax_payload = "64KiB"\nmax_buffered_per_client = "256KiB"\n`,
      });
      try {
        const quick = await world.connect();
        await quick.join("busy", { token: world.token("busy", { id: "quick" }) });
        const slow = await Promise.all(VERSIONS.map((vsn) => world.connect({ vsn })));
        for (const client of slow) {
          await client.join("busy", { token: world.token("busy", { id: "slow" }) });
          await client.fence();
          client.socket.pause();
        }
        const fill = "x".repeat(SIZE);
        for (let i = 0; i < COUNT; i++) {
          await world.backend.publish("to:busy:n", JSON.stringify({ i, fill }));
          // Limits the rate: on a busy machine the reading client must not become slow.
          await quick.frames.until(
            (each) => each.event === "n" && Object(each.payload).i === i,
            `message ${i}`,
          );
        }
        const numbers = quick.frames.all
          .filter((each) => each.event === "n")
          .map((each) => Object(each.payload).i);
        expect(numbers).toEqual(Array.from({ length: COUNT }, (_, i) => i));

        // They are disconnected although they still do not read.
        await eventually(() => {
          const diffs = quick.frames.all.filter((each) => each.event === "presence_diff");
          const left = diffs.flatMap(({ payload }) => Object(Object(payload).leaves.slow).metas ?? []);
          return left.length === slow.length;
        }, "the leaves of the slow ones");

        // The slow clients received messages without gaps, and no close frame.
        for (const client of slow) {
          client.socket.resume();
          expect((await client.socket.closed).code).toBe(1006);
          const got = client.frames.all
            .filter((each) => each.event === "n")
            .map((each) => Object(each.payload).i);
          expect(got).toEqual(Array.from({ length: got.length }, (_, i) => i));
          expect(got.length).toBeLessThan(COUNT);
        }
        expect(world.channel.lines.filter((each) => each.level === "error")).toEqual([]);
      } finally {
        await world.stop();
      }
    }, 120_000);
  }
});

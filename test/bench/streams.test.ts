import { expect, test } from "bun:test";
import { figures, quietLatest, SECONDS, sideBySide } from "../integration/tangram/streams.ts";

/** Measured again where it was too late: what else a machine does adds to it, and a slow server is slow each time. */
const TRIES = 4;
/** Below a slice of the scheduler nothing is told apart. */
const SLICE_MS = 5;

test(
  "streams of large messages arrive no later than twice the least possible",
  async () => {
    for (let tries = 1; ; tries++) {
      const { ours, least } = await sideBySide();
      console.log(`from publishing to arrival: ${figures(ours)}; the least possible: ${figures(least)}`);
      const bound = 2 * quietLatest(least) + SLICE_MS;
      if (tries < TRIES && quietLatest(ours) > bound) continue;
      expect(quietLatest(ours)).toBeLessThan(bound);
      return;
    }
  },
  (SECONDS + 60) * 1000 * TRIES,
);

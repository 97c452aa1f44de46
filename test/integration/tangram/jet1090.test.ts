import { expect, test } from "bun:test";
import { BYTES, figures, PAGES, SECONDS, sideBySide } from "./streams.ts";

test(
  `${PAGES} pages stream ${BYTES / 1000} KB each a second for ${SECONDS} s: nothing lost, nothing reordered`,
  async () => {
    const { ours, least } = await sideBySide();
    console.log(`from publishing to arrival: ${figures(ours)}; the least possible: ${figures(least)}`);
    expect(ours.faults).toEqual([]);
    expect(ours.lost).toBe(0);
    // Fewer rounds are published where the machine is busy; none of them may be lost.
    expect(ours.arrivals.length).toBeGreaterThan((PAGES * SECONDS) / 2);
    expect(least.faults).toEqual([]);
  },
  (SECONDS + 60) * 1000,
);

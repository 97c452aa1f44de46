import { expect, test } from "bun:test";
import { judge } from "../../soak/checks.ts";
import { runSoak } from "../../soak/run.ts";

/** The long form is `npx bun test/soak/soak.ts --minutes 60`. */
const SECONDS = process.env.CHANNEL_LONG === "1" ? 40 : 20;

test(
  "counts what was published and pushed exactly, with outages and clients that connect and disconnect",
  async () => {
    const soak = await runSoak({
      seconds: SECONDS,
      clients: 60,
      pauseBetweenOutages: 5,
      sampleEvery: 1,
    });
    expect(judge(soak).filter(({ holds }) => !holds)).toEqual([]);
    expect(soak.ledger.outages.length).toBeGreaterThan(0);
    expect(soak.ledger.observed.size).toBeGreaterThan(SECONDS * 10);
  },
  (SECONDS + 90) * 1000,
);

import { expect, test } from "bun:test";
import { attacks } from "../../siege/attacks.ts";
import { BASELINE, startSiege } from "../../siege/run.ts";

/** The long form, which also measures latency, is `npm run siege`. */
const SECONDS = 2;

test.each([BASELINE, ...attacks])(
  "100 honest clients lose nothing to one attacker: $name",
  async (attack) => {
    const siege = await startSiege(attack, SECONDS);
    expect({ gaps: siege.gaps, lost: siege.lost, exitCode: siege.exitCode }).toEqual({
      gaps: 0,
      lost: 0,
      exitCode: 0,
    });
    const unseen = "unseen" in attack ? (attack.unseen ?? 0) : 0;
    expect(siege.peakBytes - unseen).toBeLessThan(300e6);
  },
);

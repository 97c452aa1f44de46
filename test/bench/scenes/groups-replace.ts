import { countClosed } from "../../../src/bench/clients.ts";
import { Latency } from "../../../src/bench/latency.ts";
import { Client } from "../../../src/bench/websocket-client.ts";
import { followAll, groupsFrame, groupsUrl } from "../groups.ts";
import { type Figures, type Scene, type Stage, spending } from "../scene.ts";
import { mint } from "../tokens.ts";

const SUBSCRIPTIONS = 1000;

/** One page leaves a thousand jobs for another thousand. */
export const regroup: Scene = {
  name: "groups-replace",
  title: "1,000 entries of one group replaced by another 1,000, one message after the other",
  unit: "replacement",
  groups: true,
  // The limit keeps no account of who follows what. Rounds of one server are up to twice apart: 2.5 to 4.6 were seen.
  worstRatio: 6,
  env: { LIMITS_FRAMES_PER_SECOND: "100000", LIMITS_BYTES_PER_SECOND: "1GiB" },
  play: (stage) =>
    playReplacements(stage, (half) =>
      groupsFrame({ job_events: Array.from({ length: SUBSCRIPTIONS }, (_, i) => half * SUBSCRIPTIONS + i) }),
    ),
};

/** The same with a group for each subscription: every one is a channel that opens and closes. */
export const regroupMany: Scene = {
  name: "groups-replace-many",
  title: "1,000 groups of one entry replaced by another 1,000, one message after the other",
  unit: "replacement",
  groups: true,
  // The limit has no channels that open and close. As above: 4.7 to 10.4 were seen.
  worstRatio: 14,
  env: { LIMITS_FRAMES_PER_SECOND: "100000", LIMITS_BYTES_PER_SECOND: "1GiB" },
  play: (stage) =>
    playReplacements(stage, (half) =>
      groupsFrame(
        Object.fromEntries(
          Array.from({ length: SUBSCRIPTIONS }, (_, i) => [`group-${half * SUBSCRIPTIONS + i}`, ["changed"]]),
        ),
      ),
    ),
};

async function playReplacements(stage: Stage, frame: (half: 0 | 1) => Buffer): Promise<Figures> {
  const client = await Client.connect(0, groupsUrl(stage.url, mint(stage.secret, "user", "*")));
  const halves = [frame(0), frame(1)] as const;
  await followAll([client], () => halves[0]);
  const latency = new Latency();
  const replace = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      client.onMessage = (_client, bytes, start, end) => {
        // Only the end of a long answer is handed over; a refusal is short.
        if (bytes.includes('{"error"', start) && end - start < 200)
          reject(new Error(bytes.toString("latin1", start, end)));
        else resolve();
      };
      const sentAt = performance.now();
      client.send(halves[i % 2 === 0 ? 1 : 0]);
      await promise;
      latency.record((performance.now() - sentAt) * 1000);
    }
  };
  const times = stage.short ? 200 : 2000;
  await replace(times / 4);
  latency.clear();
  const spent = spending(stage);
  const began = performance.now();
  await replace(times);
  return {
    arrived: times,
    expected: times,
    seconds: (performance.now() - began) / 1000,
    ...spent(),
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    connectUs: null,
    againUs: null,
    bytesEach: null,
    closed: countClosed([client]),
  };
}

import { connectAll, countClosed, joinAll, quiet } from "../../../src/bench/clients.ts";
import { pssBytes } from "../../../src/bench/process-times.ts";
import type { Client } from "../../../src/bench/websocket-client.ts";
import { loopDelayMs } from "../crowds.ts";
import { type Figures, type Scene, type Stage, spending } from "../scene.ts";
import { mint } from "../tokens.ts";

/** Members are shared by all servers on one Redis: they are written there too, which the limit does not do. 1.2 to 1.5 on a quiet machine. */
const WORST_RATIO = 2.2;

export const joined: Scene = {
  name: "joined",
  title: "10,000 joined on 1,000 channels, each with a token (ours with presence)",
  unit: "join",
  worstRatio: WORST_RATIO,
  play: (stage) =>
    playJoins(stage, stage.quick ? 2000 : 10_000, (index) => `room-${index % (stage.quick ? 200 : 1000)}`),
};

export const presence: Scene = {
  name: "presence",
  title: "5,000 joined in one channel, each with a token (ours with presence)",
  unit: "join",
  worstRatio: WORST_RATIO,
  play: (stage) => playJoins(stage, stage.quick ? 1000 : 5000, () => "hall"),
};

/** A tenth joins first and stays: what a server allocates once, and compiles, is no cost of a connection. */
const FIRST = 0.1;
const SETTLE_MS = 3000;

async function playJoins(stage: Stage, count: number, topic: (index: number) => string): Promise<Figures> {
  const members = Array.from({ length: count }, (_, index) => {
    return { topic: topic(index), token: mint(stage.secret, `user-${index}`, topic(index)) };
  });
  const membership = (client: Client) => members[client.index] ?? { topic: "", token: "" };
  const url = stage.dialect.socketUrl(stage.url);

  const early = await connectAll(stage.dialect, url, count * FIRST);
  await joinAll(stage.dialect, early, membership);
  await quiet(early);
  const before = await settled(stage);

  const connecting = spending(stage);
  const late = await connectAll(stage.dialect, url, count - early.length, early.length);
  const connected = connecting();

  const all = [...early, ...late];
  await loopDelayMs(stage.url);
  const joining = spending(stage);
  const { latency, seconds } = await joinAll(stage.dialect, late, membership);
  // The joins are paid for when everyone has been told of them.
  await quiet(all);
  const spent = joining();
  const stallMs = await loopDelayMs(stage.url);

  const bytesEach = ((await settled(stage)) - before) / late.length;
  const closed = countClosed(all);

  for (const client of late) client.end();
  await quiet(early);
  const others = await connectAll(stage.dialect, url, late.length, early.length);
  const rejoining = spending(stage);
  await joinAll(stage.dialect, others, membership);
  await quiet([...early, ...others]);
  const againUs = (rejoining().serverMs * 1000) / others.length;

  return {
    arrived: latency.total,
    expected: late.length,
    seconds,
    ...spent,
    p50Ms: latency.quantileMs(0.5),
    p99Ms: latency.quantileMs(0.99),
    connectUs: (connected.serverMs * 1000) / late.length,
    againUs,
    ...(stallMs === null ? {} : { stallMs }),
    bytesEach,
    closed,
  };
}

/** The server's memory after it has had the time to collect its garbage. */
async function settled(stage: Stage): Promise<number> {
  await Bun.sleep(stage.quick ? 0 : stage.short ? SETTLE_MS / 3 : SETTLE_MS);
  return pssBytes(stage.pid);
}

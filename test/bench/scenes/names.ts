import { paddedPayload } from "../../../src/bench/payload.ts";
import { fineCpuMs, pssBytes } from "../../../src/bench/process-times.ts";
import { Publisher } from "../../../src/bench/publisher.ts";
import { loopDelayMs, openObserver } from "../crowds.ts";
import { type Figures, type Scene, type Stage, spending } from "../scene.ts";

export const NAMES = 1_000_000;
const STEPS = 10;
const PER_SECOND = 40_000;
const TICK_MS = 10;
const SETTLE_MS = 500;

/** Messages for channels that nobody has joined, each with a name that the server has never seen. */
export const names: Scene = {
  name: `names-${NAMES}`,
  title: `1 message of 100 B to each of ${NAMES.toLocaleString("en")} channels that nobody has joined, ${PER_SECOND.toLocaleString("en")} a second`,
  unit: "name",
  peers: false,
  play,
};

async function play(stage: Stage): Promise<Figures> {
  const place = { ...stage, dialect: stage.dialect.name, epochMs: Date.now() };
  const observer = await openObserver(place);
  const publisher = await Publisher.connect(stage.redisUrl);
  const step = (stage.quick ? 10_000 : NAMES) / STEPS;

  await publish(stage, publisher, "warm", step);
  await loopDelayMs(stage.url);
  await observer.ask("begin", null);
  const spent = spending(stage);
  const steps: { us: number; bytes: number }[] = [];
  for (let i = 0; i < STEPS; i++) {
    const before = fineCpuMs(stage.pid);
    await publish(stage, publisher, `step${i}`, step);
    await Bun.sleep(SETTLE_MS);
    steps.push({ us: ((fineCpuMs(stage.pid) - before) * 1000) / step, bytes: pssBytes(stage.pid) });
  }
  const cost = spent();
  const stall = await observer.ask("end", null);
  const loopMs = await loopDelayMs(stage.url);
  await observer.stop();
  publisher.end();
  const growth = (steps.at(-1)?.bytes ?? 0) - (steps[0]?.bytes ?? 0);
  return {
    // What nobody has joined comes to nobody: that all were read is seen by the observer, whose messages came behind them.
    arrived: step * STEPS,
    expected: step * STEPS + stall.lost,
    seconds: (cost.endedAt - cost.beganAt) / 1000,
    ...cost,
    p50Ms: stall.p50Ms,
    p99Ms: stall.p99Ms,
    connectUs: null,
    againUs: null,
    stallMs: Math.max(stall.worstMs, loopMs ?? 0),
    steps,
    bytesEach: growth / (step * (STEPS - 1)),
    closed: 0,
  };
}

/** Publishes once to each of so many names, evenly. */
async function publish(stage: Stage, publisher: Publisher, prefix: string, count: number): Promise<void> {
  const payload = paddedPayload(100);
  const began = performance.now();
  for (let sent = 0; sent < count; await Bun.sleep(TICK_MS)) {
    const due = Math.min(count, Math.floor(((performance.now() - began) / 1000) * PER_SECOND));
    const commands: Buffer[] = [];
    for (; sent < due; sent++)
      commands.push(stage.dialect.publication(`${prefix}-${sent}`, "message", payload).bytes);
    publisher.write(Buffer.concat(commands));
  }
}

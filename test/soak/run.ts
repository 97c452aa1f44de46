import { type ChannelProcess, startChannel } from "../integration/channel-process.ts";
import { type RedisProcess, startRedis } from "../integration/redis-process.ts";
import { type Departure, phoenixSocket, type SoakClient, type Stage } from "./clients.ts";
import { follower } from "./following.ts";
import { Ledger } from "./ledger.ts";
import { phoenixPoll } from "./polling.ts";
import { Backends } from "./publishing.ts";
import { readMetrics, type Sample, takeSample, total } from "./samples.ts";

export interface SoakOptions {
  readonly seconds: number;
  /** Connected at a time. */
  readonly clients: number;
  /** Seconds from one outage to the next. */
  readonly pauseBetweenOutages: number;
  /** Seconds between two samples. */
  readonly sampleEvery: number;
  progress?(samples: readonly Sample[]): void;
}

export interface Soak {
  readonly ledger: Ledger;
  readonly samples: readonly Sample[];
  /** Before the first client, and after the last. */
  readonly first: Sample;
  readonly last: Sample;
  /** The counters after the last message, with all clients connected and the bus live. */
  readonly settled: ReadonlyMap<string, number>;
  /** The broadcast frames that clients had received just before. */
  readonly received: number;
  readonly exitCode: number;
  readonly log: string;
  readonly report: Readonly<Record<string, unknown>>;
}

const SECRET = "the-secret-of-the-soak-that-is-long-enough";
const ROOMS = Array.from({ length: 20 }, (_, i) => `room-${i}`);
/** Between two steps of the traffic, in ms. */
const STEP = 50;
/** Messages a second. */
const RATE = 40;
/** The longest time that a client is connected, in s. */
const STAY = 40;
/** Descriptors that may be open at the end besides those at the start: files of the runtime, and our own requests. */
export const SPARE_DESCRIPTORS = 4;

const DEPARTURES: readonly Departure[] = ["leave", "close", "cut"];

interface ActiveClient {
  readonly visitor: SoakClient;
  readonly until: number;
  nextPush: number;
  nextBeat: number;
}

/** Runs the soak; `judge` checks the result. */
export async function runSoak(options: SoakOptions): Promise<Soak> {
  const redis = await startRedis();
  const channel = await startChannel({
    args: ["--redis-url", redis.url, "--jwt-secret", SECRET],
    env: { ADMIN_SECRET: "the-administrator-of-the-soak-and-nobody-else" },
  });
  const ledger = new Ledger();
  const stage: Stage = { url: channel.url, secret: SECRET, rooms: ROOMS, ledger };
  const backends = new Backends(redis.port, ROOMS, ledger);
  const began = performance.now();
  const elapsed = (): number => (performance.now() - began) / 1000;
  const sample = (): Promise<Sample> => takeSample(channel.pid, channel.url, elapsed());
  const samples: Sample[] = [];
  const active = new Set<ActiveClient>();
  let exitCode = -2;
  try {
    await untilLive(channel.url);
    await backends.start();
    const first = await sample();
    const observer = await phoenixSocket(stage, "observer", 2, ROOMS, true);
    await untilJoined(channel.url, ROOMS.length);
    const end = began + options.seconds * 1000;
    const outages = makeOutages(redis, channel, ledger, options.pauseBetweenOutages * 1000, end);
    let arriving = 0;
    let published = 0;
    let sampleDue = 0;
    let number = 0;
    while (performance.now() < end) {
      const now = performance.now();
      // At most three clients connect in one step, to spread the start.
      for (let i = 0; i < 3 && active.size + arriving < options.clients; i++) {
        arriving++;
        arrive(stage, ++number)
          .then((visitor) => active.add(activeClient(visitor)))
          .catch((error: unknown) => {
            ledger.clients.failed++;
            ledger.fault(`a client could not connect: ${error}`);
          })
          .finally(() => arriving--);
      }
      for (; published < ((now - began) / 1000) * RATE; published++) backends.publish();
      for (const guest of active) step(guest, now, active);
      if (elapsed() >= sampleDue) {
        sampleDue += options.sampleEvery;
        observer.heartbeat();
        samples.push(await sample());
        options.progress?.(samples);
      }
      await Bun.sleep(STEP);
    }
    await outages;
    await untilLive(channel.url);
    // Waits for messages in flight.
    await Bun.sleep(3000);
    // The departures that follow are broadcast too.
    const { received } = ledger;
    const settled = await readMetrics(channel.url);
    await Promise.all([...active].map(({ visitor }, i) => visitor.go(DEPARTURES[i % 3] ?? "leave")));
    await observer.go("leave");
    const last = await untilEmpty(sample, first.descriptors + SPARE_DESCRIPTORS);
    exitCode = await channel.stop();
    const report = reportOf(options, ledger, samples, first, last, channel);
    return { ledger, samples, first, last, settled, received, exitCode, log: channel.output(), report };
  } finally {
    backends.stop();
    await channel.stop();
    await redis.stop();
  }
}

function activeClient(visitor: SoakClient): ActiveClient {
  const now = performance.now();
  const until = now + 1000 + Math.random() ** 2 * STAY * 1000;
  return { visitor, until, nextPush: now + Math.random() * 4000, nextBeat: now + 10_000 };
}

/** Of twelve clients, six use V2, three V1, two follow groups and one polls. */
function arrive(stage: Stage, number: number): Promise<SoakClient> {
  const name = `guest-${number}`;
  const from = Math.floor(Math.random() * ROOMS.length);
  const rooms = Array.from({ length: 1 + (number % 3) }, (_, i) => ROOMS[(from + i) % ROOMS.length] ?? "");
  const kind = number % 12;
  if (kind === 0) return phoenixPoll(stage, name, rooms);
  if (kind < 3) return follower(stage, name, rooms);
  return phoenixSocket(stage, name, kind < 6 ? 1 : 2, rooms);
}

function step(guest: ActiveClient, now: number, active: Set<ActiveClient>): void {
  const { visitor } = guest;
  if (now >= guest.until) {
    active.delete(guest);
    void visitor.go(DEPARTURES[Math.floor(Math.random() * 3)] ?? "leave");
    return;
  }
  if (now >= guest.nextPush) {
    guest.nextPush = now + 2000 + Math.random() * 4000;
    visitor.push();
  }
  if (now >= guest.nextBeat) {
    guest.nextBeat = now + 10_000;
    visitor.heartbeat();
  }
}

/** Until `end`, in turn: kills and restarts Redis, stops it for a while, closes the server's connections. */
async function makeOutages(
  redis: RedisProcess,
  channel: ChannelProcess,
  ledger: Ledger,
  pause: number,
  end: number,
): Promise<void> {
  const cut = async (): Promise<void> => {
    const client = Bun.spawn(["redis-cli", "-p", String(redis.port), "CLIENT", "KILL", "TYPE", "pubsub"], {
      stdout: "ignore",
    });
    await client.exited;
  };
  const restart = async (): Promise<void> => {
    await redis.down();
    await Bun.sleep(500 + Math.random() * 5000);
    await redis.restart();
  };
  const freeze = async (): Promise<void> => {
    redis.kill("SIGSTOP");
    await Bun.sleep(4000);
    redis.kill("SIGCONT");
  };
  const kinds = [
    { how: "restarted", act: restart },
    { how: "connections cut", act: cut },
    { how: "restarted", act: restart },
    { how: "frozen for 4 s", act: freeze },
  ];
  for (let i = 0; performance.now() + pause < end - 2000; i++) {
    await Bun.sleep(pause);
    const kind = kinds[i % kinds.length];
    if (kind === undefined) return;
    const outage = { how: kind.how, from: performance.now(), to: Number.POSITIVE_INFINITY };
    ledger.outages.push(outage);
    await kind.act();
    const back = performance.now();
    await untilNoticed(channel.url, i + 1);
    await untilLive(channel.url);
    outage.to = performance.now();
    const took = outage.to - back;
    // test/bench/promises.test.ts measures the recovery within 2 s; this timeout is for a hang.
    if (took > 15_000) ledger.fault(`${kind.how}: live again only ${Math.round(took)} ms after Redis`);
  }
}

/** A join takes as long as the members on other servers need to be read. */
async function untilJoined(url: string, joins: number): Promise<void> {
  while (total(await readMetrics(url), "channel_joins_total") < joins) await Bun.sleep(STEP);
}

/** The loss must have been noticed before the return can be seen. After 10 s a check finds the gap that is missing. */
async function untilNoticed(url: string, gaps: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline && total(await readMetrics(url), "channel_bus_gaps_total") < gaps)
    await Bun.sleep(20);
}

async function untilLive(url: string): Promise<void> {
  for (;;) {
    const { status } = await fetch(`${url}/ready`);
    if (status === 200) return;
    await Bun.sleep(20);
  }
}

/**
 * Polling sessions end 15 s after their last poll, and the connections of polls that clients keep for another request half
 * a minute after it.
 */
async function untilEmpty(sample: () => Promise<Sample>, descriptors: number): Promise<Sample> {
  for (let tries = 0; ; tries++) {
    const one = await sample();
    const open = [...one.metrics].filter(([name]) => name.startsWith("channel_connections{"));
    const empty = open.every(([, value]) => value === 0) && one.descriptors <= descriptors;
    if (tries === 450 || empty) return one;
    await Bun.sleep(100);
  }
}

function reportOf(
  options: SoakOptions,
  ledger: Ledger,
  samples: readonly Sample[],
  first: Sample,
  last: Sample,
  channel: ChannelProcess,
): Readonly<Record<string, unknown>> {
  const { published, observed, outages, odd, pushes, joins, clients, received, backend } = ledger;
  const receivers = [...published.values()].map((message) => message.receivers);
  const warnings = channel.lines.filter(({ level }) => level === "warn" || level === "error");
  return {
    seconds: options.seconds,
    samples: samples.length,
    clients,
    joins,
    messages: {
      published: published.size,
      givenToTheServer: receivers.filter((n) => n === 1).length,
      withoutSubscriber: receivers.filter((n) => n === 0).length,
      notAnsweredByRedis: receivers.filter((n) => n === null).length,
      observed: observed.size,
      receivedByClients: received,
      odd,
    },
    pushes: { ...pushes, receivedByBackend: backend.size },
    outages: outages.map(({ how, from, to }) => ({ how, seconds: Number(((to - from) / 1000).toFixed(2)) })),
    memory: {
      firstMB: mb(first.rss),
      lastMB: mb(last.rss),
      mostMB: mb(Math.max(...samples.map((s) => s.rss))),
    },
    descriptors: { first: first.descriptors, last: last.descriptors },
    cpuSeconds: last.metrics.get("process_cpu_seconds_total"),
    counters: Object.fromEntries([...last.metrics].filter(([name]) => name.startsWith("channel_"))),
    warnings: warnings.map(({ level, message }) => `${level} ${message}`).reduce(tally, {}),
    faults: ledger.faults,
  };
}

function tally(counts: Record<string, number>, line: string): Record<string, number> {
  counts[line] = (counts[line] ?? 0) + 1;
  return counts;
}

function mb(bytes: number): number {
  return Math.round(bytes / 1e5) / 10;
}

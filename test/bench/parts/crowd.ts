/** A part that is clients: connects them, joins them, publishes, counts what they get, and loses all of them at once. */
import { connectAll, countClosed, joinAll, quiet } from "../../../src/bench/clients.ts";
import { Deliveries, flood, pace } from "../../../src/bench/deliveries.ts";
import type { Driver } from "../../../src/bench/driver.ts";
import { Latency } from "../../../src/bench/latency.ts";
import { paddedPayload } from "../../../src/bench/payload.ts";
import { inOne, Publisher } from "../../../src/bench/publisher.ts";
import { shareClock } from "../../../src/bench/stamp.ts";
import { type Client, ignore } from "../../../src/bench/websocket-client.ts";
import { dialects } from "../dialects.ts";
import { answerAll } from "../part.ts";
import { mint } from "../tokens.ts";

/** Where and as whom. */
export interface Place {
  readonly url: string;
  readonly dialect: string;
  readonly secret: string;
  readonly redisUrl: string;
  /** Start of the clock that all parts share, Unix time in ms. */
  readonly epochMs: number;
}

/** Which channels a client joins: of `<prefix>0` to `<prefix><channels - 1>` that of its number, and each `stride` further on. */
export interface Layout {
  readonly prefix: string;
  readonly channels: number;
  readonly joins: number;
  readonly stride: number;
}

export function topicOf({ prefix, channels, stride }: Layout, index: number, nth: number): string {
  return `${prefix}${(index + nth * stride) % channels}`;
}

export type Entries = ReturnType<Latency["entries"]>;

export interface Storm {
  /** From the cut until the last client was connected, and until it had joined. */
  readonly connectedMs: number;
  readonly joinedMs: number;
  /** From the cut until each had joined. */
  readonly entries: Entries;
  /** Connections that failed or were closed before the join was answered, and were tried again. */
  readonly retries: number;
}

let place: Place | null = null;
let driver: Driver | null = null;
let clients: Client[] = [];
let deliveries: Deliveries | null = null;
let publisher: Publisher | null = null;
let firstIndex = 0;

/** While flooding nobody looks at how late messages come. */
const FLOOD_STAMPS = 1000;
const RETRY_MS = 100;
const TRIES = 20;
const SWEEP_MS = 250;

function opened(): { readonly place: Place; readonly driver: Driver } {
  if (place === null || driver === null) throw new Error("open comes first");
  return { place, driver };
}

export const answers = {
  async open(request: Place & { readonly from: number; readonly count: number }): Promise<void> {
    place = request;
    driver = dialects.find(({ name }) => name === request.dialect) ?? null;
    firstIndex = request.from;
    shareClock(request.epochMs);
    publisher = await Publisher.connect(opened().driver.intakeUrl?.(request.url) ?? request.redisUrl);
    const patient = { ...opened().driver, connect };
    clients = await connectAll(patient, patient.socketUrl(request.url), request.count, request.from);
  },

  async join(layout: Layout): Promise<{ readonly entries: Entries; readonly seconds: number }> {
    const latency = new Latency();
    let seconds = 0;
    for (let nth = 0; nth < layout.joins; nth++) {
      const joined = await joinAll(opened().driver, clients, ({ index }) => membership(layout, index, nth));
      latency.add(joined.latency.entries());
      seconds += joined.seconds;
    }
    return { entries: latency.entries(), seconds };
  },

  /** Resolves when nothing has come for a while. */
  async quiet(_request: null): Promise<void> {
    await quiet(clients);
  },

  /** Begins to count what comes; stamps are read for one client in so many. */
  count({ stampEvery }: { readonly stampEvery: number }): void {
    deliveries = new Deliveries(opened().driver, clients, stampEvery);
    deliveries.reset();
  },

  /** Publishes evenly to `<prefix><first>` and the following; to how many messages that was. */
  async publish(request: {
    readonly prefix: string;
    readonly first: number;
    readonly channels: number;
    readonly perSecond: number;
    readonly seconds: number;
    readonly bytes: number;
  }): Promise<number> {
    const { driver } = opened();
    if (publisher === null || deliveries === null) throw new Error("count comes first");
    const payload = paddedPayload(request.bytes);
    const messages = Array.from({ length: request.channels }, (_, index) =>
      driver.publication(`${request.prefix}${request.first + index}`, "message", payload),
    );
    await pace(deliveries, publisher, messages, request.perSecond, 0, request.seconds);
    return Math.round(request.perSecond * request.seconds);
  },

  /** Publishes to all channels in turn as fast as it comes, that many messages on their way; to how many deliveries came. */
  async flood(request: {
    readonly prefix: string;
    readonly channels: number;
    /** Members of each channel. */
    readonly each: number;
    readonly bytes: number;
    readonly inFlight: number;
    readonly seconds: number;
  }): Promise<number> {
    const { driver } = opened();
    if (publisher === null) throw new Error("open comes first");
    const payload = paddedPayload(request.bytes);
    const messages = Array.from({ length: request.channels }, (_, index) =>
      driver.publication(`${request.prefix}${index}`, "message", payload),
    );
    const counted = new Deliveries(driver, clients, FLOOD_STAMPS);
    await flood(counted, publisher, inOne(messages), request.inFlight, request.seconds, request.each);
    await counted.drained();
    return counted.received;
  },

  received(_request: null): number {
    return deliveries?.received ?? 0;
  },

  /** What has come since `count`: how late, and how many connections the server has closed. */
  figures(_request: null): { readonly entries: Entries; readonly closed: number } {
    return { entries: deliveries?.latency.entries() ?? [], closed: countClosed(clients) };
  },

  /** User and system time of this process so far, in ms. */
  cpu(_request: null): number {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },

  /** All clients lose their connection, come back at once, so many connecting at a time, and join again. */
  storm({ layout, atOnce }: { readonly layout: Layout; readonly atOnce: number }): Promise<Storm> {
    const { driver, place } = opened();
    const url = driver.socketUrl(place.url);
    const frames = clients.map(({ index }) => {
      const { topic, token } = membership(layout, index, 0);
      return driver.joinFrame(topic, token);
    });
    const done = Promise.withResolvers<Storm>();
    const latency = new Latency();
    /** Those that have sent their join and wait for the answer, by place. */
    const waiting = new Map<number, Client>();
    const todo = frames.map((_, at) => at);
    const back: Client[] = [];
    let retries = 0;
    let connectedMs = 0;

    const began = performance.now();
    for (const client of clients) client.reset();
    const joined = (at: number): void => {
      waiting.delete(at);
      latency.record((performance.now() - began) * 1000);
      if (latency.total < frames.length) return;
      clearInterval(sweep);
      clients = back;
      done.resolve({ connectedMs, joinedMs: performance.now() - began, entries: latency.entries(), retries });
    };
    const enter = async (at: number): Promise<void> => {
      const client = await driver.connect(firstIndex + at, url);
      connectedMs = performance.now() - began;
      waiting.set(at, client);
      client.onMessage = (client, bytes, start, end) => {
        if (!driver.isReply(client, bytes, start, end)) return;
        client.onMessage = ignore;
        if (!driver.isOk(bytes, start, end)) {
          done.reject(new Error(`join rejected: ${bytes.toString("latin1", start, end)}`));
          return;
        }
        back[at] = client;
        joined(at);
      };
      client.send(frames[at] ?? Buffer.alloc(0));
    };
    const lane = async (): Promise<void> => {
      for (let at = todo.shift(); at !== undefined; at = todo.shift()) {
        try {
          await enter(at);
        } catch {
          retries++;
          todo.push(at);
          await Bun.sleep(RETRY_MS);
        }
      }
    };
    const sweep = setInterval(() => {
      for (const [at, client] of waiting) {
        if (!client.closed) continue;
        waiting.delete(at);
        retries++;
        todo.push(at);
        void lane();
      }
    }, SWEEP_MS);
    for (let i = 0; i < atOnce; i++) void lane();
    return done.promise;
  },
};

/** A full listen queue costs a connection now and then, which comes again. */
async function connect(index: number, url: URL): Promise<Client> {
  for (let tries = 1; ; tries++) {
    try {
      return await opened().driver.connect(index, url);
    } catch (error) {
      if (tries === TRIES) throw error;
      await Bun.sleep(RETRY_MS);
    }
  }
}

function membership(layout: Layout, index: number, nth: number) {
  const topic = topicOf(layout, index, nth);
  return { topic, token: mint(opened().place.secret, userOf(index), topic) };
}

export function userOf(index: number): string {
  return `user-${index}`;
}

if (import.meta.main) answerAll(answers);

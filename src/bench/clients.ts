import type { Driver } from "./driver.ts";
import { Latency } from "./latency.ts";
import { type Client, ignore } from "./websocket-client.ts";

/** Concurrent connects or joins: enough to keep the server busy without overflowing its listen queue. */
const CONCURRENCY = 200;
/** Timeout of all joins, ms. Some peers need minutes for thousands of joins. */
const JOIN_TIMEOUT_MS = 150_000;

export async function connectAll(driver: Driver, url: URL, count: number, from = 0): Promise<Client[]> {
  const clients: Client[] = [];
  let next = from;
  const one = async (): Promise<void> => {
    while (next < from + count) clients.push(await driver.connect(next++, url));
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, count) }, one));
  return clients.sort((a, b) => a.index - b.index);
}

export interface Membership {
  readonly topic: string;
  readonly token: string;
}

export interface Joined {
  readonly latency: Latency;
  /** From the first join to the last reply. */
  readonly seconds: number;
}

/** Joins each client to one topic; resolves after the last "ok", rejects at the first rejection or after `JOIN_TIMEOUT_MS`. */
export function joinAll(
  driver: Driver,
  clients: readonly Client[],
  membership: (client: Client) => Membership,
): Promise<Joined> {
  const frames = clients.map((client) => {
    const { topic, token } = membership(client);
    return driver.joinFrame(topic, token);
  });
  const { promise, resolve, reject } = Promise.withResolvers<Joined>();
  const latency = new Latency();
  const sentAt = new Float64Array(clients.length);
  const place = new Map(clients.map((client, i) => [client, i]));
  const began = performance.now();
  let next = 0;
  let answered = 0;
  const timer = setTimeout(() => {
    reject(new Error(`${clients.length - answered} of ${clients.length} joins were not answered`));
  }, JOIN_TIMEOUT_MS);
  const joinNext = (): void => {
    const client = clients[next];
    const frame = frames[next];
    if (client === undefined || frame === undefined) return;
    sentAt[next] = performance.now();
    next++;
    client.send(frame);
  };
  for (const client of clients) {
    client.onMessage = (client, bytes, start, end) => {
      if (!driver.isReply(client, bytes, start, end)) return;
      if (!driver.isOk(bytes, start, end))
        reject(new Error(`join rejected: ${bytes.toString("latin1", start, end)}`));
      latency.record((performance.now() - (sentAt[place.get(client) ?? 0] ?? 0)) * 1000);
      answered++;
      if (answered === clients.length) {
        clearTimeout(timer);
        for (const each of clients) each.onMessage = ignore;
        resolve({ latency, seconds: (performance.now() - began) / 1000 });
      } else joinNext();
    };
  }
  for (let i = 0; i < CONCURRENCY; i++) joinNext();
  return promise;
}

const QUIET_MS = 300;
const QUIET_TIMEOUT_MS = 120_000;

/** Resolves when nothing was received for `QUIET_MS`, so presence is delivered; to when that began, in ms. */
export async function quiet(clients: readonly Client[]): Promise<number> {
  const giveUp = performance.now() + QUIET_TIMEOUT_MS;
  let since = performance.now();
  let last = -1;
  while (performance.now() < giveUp) {
    let received = 0;
    for (const client of clients) received += client.received;
    if (received !== last) {
      last = received;
      since = performance.now();
    } else if (performance.now() - since > QUIET_MS) return since;
    await Bun.sleep(10);
  }
  throw new Error(`still receiving ${QUIET_TIMEOUT_MS / 1000} s after the joins`);
}

export function countClosed(clients: readonly Client[]): number {
  return clients.filter((client) => client.closed).length;
}

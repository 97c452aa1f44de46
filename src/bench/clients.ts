import type { Driver } from "./driver.ts";
import { Latency } from "./latency.ts";
import { type Client, ignore } from "./websocket-client.ts";

/** How many connect, or join, at the same time: a busy server, and no flood that its listen queue refuses. */
const AT_ONCE = 200;
/** For peers to whom a join of thousands is minutes of work. */
const PATIENCE_MS = 150_000;

export async function connectAll(dialect: Driver, url: URL, count: number, from = 0): Promise<Client[]> {
  const clients: Client[] = [];
  let next = from;
  const one = async (): Promise<void> => {
    while (next < from + count) clients.push(await dialect.connect(next++, url));
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, one));
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

/** Joins every client to one topic; resolves when all were answered ok, rejects at the first refusal. */
export function joinAll(
  dialect: Driver,
  clients: readonly Client[],
  membership: (client: Client) => Membership,
): Promise<Joined> {
  const frames = clients.map((client) => {
    const { topic, token } = membership(client);
    return dialect.joinFrame(topic, token);
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
  }, PATIENCE_MS);
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
      if (!dialect.isReply(client, bytes, start, end)) return;
      if (!dialect.isOk(bytes, start, end))
        reject(new Error(`join refused: ${bytes.toString("latin1", start, end)}`));
      latency.record((performance.now() - (sentAt[place.get(client) ?? 0] ?? 0)) * 1000);
      answered++;
      if (answered === clients.length) {
        clearTimeout(timer);
        for (const each of clients) each.onMessage = ignore;
        resolve({ latency, seconds: (performance.now() - began) / 1000 });
      } else joinNext();
    };
  }
  for (let i = 0; i < AT_ONCE; i++) joinNext();
  return promise;
}

const QUIET_MS = 300;
const QUIET_PATIENCE_MS = 120_000;

/** Resolves when nothing has come in for a while: presence has been told, the joins are over. When that began, in ms. */
export async function quiet(clients: readonly Client[]): Promise<number> {
  const giveUp = performance.now() + QUIET_PATIENCE_MS;
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
  throw new Error(`still no quiet ${QUIET_PATIENCE_MS / 1000} s after the joins`);
}

export function closedOnes(clients: readonly Client[]): number {
  return clients.filter((client) => client.closed).length;
}

import { join } from "node:path";
import { Latency } from "../../src/bench/latency.ts";
import { Part } from "./part.ts";
import type { answers as CrowdAnswers, Entries, Place } from "./parts/crowd.ts";
import type { answers as ObserverAnswers } from "./parts/observer.ts";

export type Crowd = Part<typeof CrowdAnswers>;
export type Observer = Part<typeof ObserverAnswers>;

export interface CrowdOptions {
  /** Number of the first client. Default: 0. */
  readonly first?: number;
  /** Address of the server for a process. Default: the same for all. */
  readonly urlOf?: (process: number) => string;
  /** Whether they leave the processor to servers. Default: true. */
  readonly yields?: boolean;
}

/** Processes that hold so many clients in all, the same number each, connected. */
export async function openCrowds(
  place: Place,
  clients: number,
  processes: number,
  { first = 0, urlOf = () => place.url, yields = true }: CrowdOptions = {},
): Promise<readonly Crowd[]> {
  const crowds = Array.from(
    { length: processes },
    (): Crowd => new Part(join(import.meta.dir, "parts/crowd.ts"), yields),
  );
  const bounds = crowds.map((_, i) => Math.round((clients * i) / processes));
  await Promise.all(
    crowds.map((crowd, i) => {
      const from = bounds[i] ?? 0;
      const count = (bounds[i + 1] ?? clients) - from;
      return crowd.ask("open", { ...placed(place), url: urlOf(i), from: first + from, count });
    }),
  );
  return crowds;
}

export async function openObserver(place: Place): Promise<Observer> {
  const observer: Observer = new Part(join(import.meta.dir, "parts/observer.ts"), false);
  await observer.ask("open", placed(place));
  return observer;
}

/** What a part is sent of it: a stage has more. */
function placed({ url, dialect, secret, redisUrl, epochMs }: Place): Place {
  return { url, dialect, secret, redisUrl, epochMs };
}

const POLL_MS = 20;
/** What has not come when nothing has come for so long is lost. */
const LOST_MS = 10_000;

/** Resolves when so many deliveries have come in all, or no more come; to their number. */
export async function received(crowds: readonly Crowd[], expected: number): Promise<number> {
  let last = -1;
  for (let since = performance.now(); performance.now() - since < LOST_MS; await Bun.sleep(POLL_MS)) {
    const each = await Promise.all(crowds.map((crowd) => crowd.ask("received", null)));
    const total = each.reduce((sum, one) => sum + one, 0);
    if (total >= expected) return total;
    if (total !== last) since = performance.now();
    last = total;
  }
  return last;
}

/** One histogram of several processes'. */
export function merged(parts: readonly { readonly entries: Entries }[]): Latency {
  const latency = new Latency();
  for (const { entries } of parts) latency.add(entries);
  return latency;
}

/** The longest event loop delay since the last call, in ms, of a server of ours; `null` of another. */
export async function loopDelayMs(url: string): Promise<number | null> {
  try {
    const answer = await fetch(new URL("/metrics", url.replace(/^ws/, "http")));
    const [, seconds] = /^channel_event_loop_delay_max_seconds (\S+)$/m.exec(await answer.text()) ?? [];
    return seconds === undefined ? null : Number(seconds) * 1000;
  } catch {
    return null;
  }
}

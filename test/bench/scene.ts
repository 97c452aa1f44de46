import { existsSync } from "node:fs";
import type { Driver } from "../../src/bench/driver.ts";
import { cpuMs, withChildren } from "../../src/bench/process-times.ts";

/** What a scene is played against. */
export interface Stage {
  /** `ws://host:port` */
  readonly url: string;
  /** The server's process on this machine. */
  readonly pid: number;
  readonly redisUrl: string;
  /** Secret for the tokens of those who join. */
  readonly secret: string;
  readonly dialect: Driver;
  /** Seconds and small crowds instead of a measurement that can be quoted. */
  readonly short: boolean;
  /** The smallest that still finds a regression. */
  readonly quick: boolean;
}

/** Address where backends publish: Redis, or the server itself where it takes messages by HTTP only. */
export function intake({ dialect, url, redisUrl }: Stage): string {
  return dialect.intakeUrl?.(url) ?? redisUrl;
}

/** What one run of a scene has found. */
export interface Figures {
  /** Deliveries, joins or answered pushes that came, of how many that were expected. */
  readonly arrived: number;
  readonly expected: number;
  readonly seconds: number;
  /** When measuring began and ended, Unix time in ms: what a profile is cut to. */
  readonly beganAt: number;
  readonly endedAt: number;
  /** The server's user and system time, in ms, of all its processes. */
  readonly serverMs: number;
  /** That of the process with the most. */
  readonly busiestMs: number;
  /** The load generator's own, over the same time. */
  readonly loadMs: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** The server's CPU for each connection made and upgraded, in us; where connecting is measured. */
  readonly connectUs: number | null;
  /** The server's CPU for each join of a second crowd of the same size, in us: when it has compiled what it runs. */
  readonly againUs: number | null;
  /** The server's CPU for each join into what there is already, in us; where growth is measured. */
  readonly joinUs?: number;
  /** The longest that anyone waited for a message, in ms, where growth is measured; the longest event loop delay, where many join. */
  readonly stallMs?: number;
  /** What each of several steps of the same work cost, in us, and the server's memory after it; where growth is measured. */
  readonly steps?: readonly { readonly us: number; readonly bytes: number }[];
  /** The server's memory (PSS) for each connection that has joined. */
  readonly bytesEach: number | null;
  /** Connections that the server has closed. */
  readonly closed: number;
}

export interface Scene {
  readonly name: string;
  /** One line for the table's heading. */
  readonly title: string;
  readonly unit: "delivery" | "join" | "push" | "replacement" | "name";
  /** How many times the limit it may cost us where 1.5 cannot be, since the limit leaves work out: half as much again as on a quiet machine. */
  readonly worstRatio?: number;
  /** Share of the messages that may be left out. Default: 0. */
  readonly mayMiss?: number;
  /** Event groups: not for servers of another dialect. */
  readonly groups?: true;
  /** Environment that our server needs for this scene. */
  readonly env?: Readonly<Record<string, string>>;
  /** Configuration file that our server needs for this scene. */
  readonly config?: string;
  /** For these servers only. */
  readonly only?: readonly string[];
  /** `false`: for our server and the limit only. */
  readonly peers?: false;
  play(stage: Stage): Promise<Figures>;
}

export interface Spent {
  readonly beganAt: number;
  readonly endedAt: number;
  readonly serverMs: number;
  readonly busiestMs: number;
  readonly loadMs: number;
}

/** Starts to measure what the server and this process use; call the result to read it. */
export function spending(stage: Stage): () => Spent {
  const processes = withChildren(stage.pid).map((pid) => ({ pid, before: cpuMs(pid) }));
  const load = process.cpuUsage();
  const beganAt = Date.now();
  return () => {
    const used = process.cpuUsage(load);
    const loadMs = (used.user + used.system) / 1000;
    // Not of one that has ended.
    const each = processes.map(({ pid, before }) => (existsSync(`/proc/${pid}`) ? cpuMs(pid) - before : 0));
    const serverMs = each.reduce((sum, ms) => sum + ms, 0);
    return { serverMs, busiestMs: Math.max(...each), loadMs, beganAt, endedAt: Date.now() };
  };
}

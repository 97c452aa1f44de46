import { expect } from "bun:test";
import { join } from "node:path";
import { startChannel } from "../channel-process.ts";
import { eventually, mint } from "../phoenix-client.ts";
import { startRedis } from "../redis-process.ts";
import type { Box } from "./box.ts";
import { type Program, startProgram } from "./program.ts";
import { type Arrival, openStreamingPage, type StreamingPage } from "./streaming-page.ts";

/*
 * The traffic of Tangram's jet1090 plugin: 50 pages, each with a channel of its own, 200 KB each a second, through the
 * executable; and beside it through the least that the runtime can do. Both run at once, each with a Redis and a backend
 * of its own, half a second apart: what else the machine does meets both alike, and neither waits for the other.
 */

export const PAGES = 50;
export const BYTES = 200_000;
/** `CHANNEL_STREAM_SECONDS` makes it longer: a minute in CI. */
export const SECONDS = Number(process.env.CHANNEL_STREAM_SECONDS || 10);
const SECRET = "a-secret-of-the-streaming-test-that-is-long";

const FRANCE: Box = { northEastLat: 51, northEastLng: 8, southWestLat: 42, southWestLng: -5 };
const NETHERLANDS: Box = { northEastLat: 53.6, northEastLng: 7.2, southWestLat: 50.7, southWestLng: 3.3 };

export interface Run {
  readonly arrivals: readonly Arrival[];
  readonly faults: readonly string[];
  readonly lost: number;
}

export async function sideBySide(): Promise<{ readonly ours: Run; readonly least: Run }> {
  const started: { stop(): Promise<unknown> }[] = [];
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    started.unshift(one);
    return one;
  };
  try {
    const redis = keep(await startRedis());
    const otherRedis = keep(await startRedis());
    const channel = keep(
      await startChannel({ args: ["--redis-url", redis.url], toml: `jwt_secret = "${SECRET}"` }),
    );
    const limit = keep(
      startProgram([process.execPath, script("../../bench/limit.ts"), "--redis-url", otherRedis.url]),
    );
    const address = await addressOf(limit);
    const [ours, least] = await Promise.all([
      stream(channel.url, redis.url, 0),
      stream(address, otherRedis.url, 500),
    ]);
    return { ours, least };
  } finally {
    for (const one of started) await one.stop();
  }
}

async function stream(url: string, redisUrl: string, phase: number): Promise<Run> {
  const backend = startProgram([
    ...[process.execPath, script("jet1090.ts")],
    ...["--redis-url", redisUrl, "--bytes", String(BYTES), "--phase", String(phase)],
  ]);
  const token = (channel: string): string => mint({ id: "page", channel }, SECRET);
  const pages: StreamingPage[] = [];
  try {
    await backend.lines.until((line) => line === "listening", "the backend");
    for (let i = 0; i < PAGES; i++) {
      pages.push(await openStreamingPage(url, `page${i}`, token, FRANCE));
    }
    await eventually(() => pages.every((page) => page.arrivals.length > 0), "a first message for every page");
    // Lateness counts from here on: before it the programs warm up.
    const begun = Date.now();
    expect(pages[0]?.within(NETHERLANDS)).not.toEqual(pages[0]?.within(FRANCE));
    expect(pages[0]?.within(FRANCE).within).toBe(pages[0]?.within(FRANCE).all);
    // Halfway every map is moved, and the backend must receive it.
    await Bun.sleep((SECONDS / 2) * 1000);
    await Promise.all(pages.map((page) => page.look(NETHERLANDS)));
    await Bun.sleep(Math.max(0, begun + SECONDS * 1000 - Date.now()));

    await Promise.all(pages.map((page) => page.leave()));
    backend.say("stop");
    const said: unknown = JSON.parse(
      await backend.lines.until((line) => line.startsWith("{"), "what was published"),
    );
    const counts = new Map(Object.entries(said ?? {}).map(([id, count]) => [id, Number(count)]));
    const due = (page: StreamingPage): number => counts.get(page.id) ?? Number.NaN;
    await eventually(
      () => pages.every((page) => page.arrivals.length >= due(page)),
      "the last messages",
    ).catch(() => null);
    const lost = pages.reduce((sum, page) => sum + due(page) - page.arrivals.length, 0);
    for (const page of pages) expect(page.within(NETHERLANDS).within).toBe(page.within(NETHERLANDS).all);
    const faults = pages.map((page) => page.fault).filter((fault) => fault !== null);
    const arrivals = pages.flatMap((page) => page.arrivals).filter(({ sent }) => sent >= begun);
    return { arrivals, faults, lost };
  } finally {
    for (const page of pages) page.close();
    await backend.stop();
  }
}

/** The share of all messages that arrived within the time that this gives, in ms. */
export function quantile({ arrivals }: Run, share: number): number {
  const late = arrivals.map((each) => each.late).sort((a, b) => a - b);
  return late[Math.max(0, Math.ceil(late.length * share) - 1)] ?? Number.NaN;
}

/**
 * The latest message of a second, in ms, in the quietest quarter of all seconds: a busy machine holds up either server
 * by what it likes, a slow server is slow in every second.
 */
export function quietLatest({ arrivals }: Run): number {
  const rounds = new Map<number, number>();
  for (const { sent, late } of arrivals) {
    // Rounds begin at a full or a half second and are far shorter than that.
    const round = Math.floor(sent / 500);
    rounds.set(round, Math.max(late, rounds.get(round) ?? 0));
  }
  const latest = [...rounds.values()].sort((a, b) => a - b);
  return latest[latest.length >> 2] ?? Number.NaN;
}

export function figures(run: Run): string {
  const [median, p99, latest] = [0.5, 0.99, 1].map((share) => quantile(run, share).toFixed(1));
  return `median ${median} ms, p99 ${p99} ms, latest ${latest} ms, latest of a quiet second ${quietLatest(run).toFixed(1)} ms`;
}

function script(path: string): string {
  return join(import.meta.dir, path);
}

/** The address in the line that says `listening`. */
async function addressOf(program: Program): Promise<string> {
  const line: unknown = JSON.parse(
    await program.lines.until((each) => each.includes('"listening"'), "listening"),
  );
  if (typeof line !== "object" || line === null || !("url" in line)) throw new Error("it says no address");
  return String(line.url).replace(/\/$/, "");
}

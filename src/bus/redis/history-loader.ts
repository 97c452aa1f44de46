import type { ExtendableHistory, HistoryRules, KeptMessage, Lost } from "../../hub/history/history.ts";
import type { Positions } from "../../hub/history/positions.ts";
import { microsOf, parseId } from "./history-ids.ts";
import type { HistoryStore, StoredChannel, StoredEntry } from "./history-store.ts";
import { COVER_TIMEOUT_MS, type HistoryWriter } from "./history-writer.ts";

/** Time for one channel, and pause until another server has written, in ms. */
const LOAD_TIMEOUT_MS = COVER_TIMEOUT_MS + 2500;
const POLL_MS = 20;

/** Pause after what could not be read, in ms. */
const RETRY_MS = 1000;

/** Channels that are read at once. */
const MAX_LOADS = 16;

export interface LoaderOptions {
  readonly store: HistoryStore;
  readonly memory: ExtendableHistory;
  readonly positions: Positions;
  readonly writer: HistoryWriter;
}

/**
 * Adds to the memory what Redis has of a channel from before this server's subscription. Only once the covered range reaches
 * that far: a read never overtakes a write.
 */
export class HistoryLoader {
  readonly #options: LoaderOptions;
  readonly #loads = new Map<string, Promise<void>>();
  #running = 0;
  readonly #queue: (() => void)[] = [];
  /** The number before which markers were read. */
  #marksBefore: number | null = null;
  /** Nothing is read before this time, in ms of `performance.now`. */
  #pausedUntil = 0;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /** As `History.prepare`. */
  prepare(channel: string, rules: HistoryRules, position: string | null): Promise<void> | null {
    const running = this.#loads.get(channel);
    if (running !== undefined) return running;
    const { store, memory, positions, writer } = this.#options;
    if (rules.stored !== true || rules.count === 0 || !memory.lacks(channel, rules)) return null;
    if (!store.expected || writer.base === null || performance.now() < this.#pausedUntil) return null;
    if (position !== null) {
      const seq = positions.resolve(position);
      if (seq === "ahead" || seq === "gap") return null;
      if (seq !== "unknown position" && typeof memory.since(channel, rules, seq, 0) !== "string") return null;
    }
    const load = this.#load(channel, rules).finally(() => this.#loads.delete(channel));
    this.#loads.set(channel, load);
    return load;
  }

  async #load(channel: string, rules: HistoryRules): Promise<void> {
    const deadline = performance.now() + LOAD_TIMEOUT_MS;
    if (this.#running >= MAX_LOADS) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#running++;
    try {
      while ((await this.#attempt(channel, rules)) === "again") {
        if (performance.now() > deadline) throw new Error("what was read here was not written in time");
        await Bun.sleep(POLL_MS);
      }
    } catch {
      // What is in memory is used; the writer logs what Redis refuses.
      this.#pausedUntil = performance.now() + RETRY_MS;
    } finally {
      this.#running--;
      this.#queue.shift()?.();
    }
  }

  /** `again`: the range does not reach what is in memory yet. */
  async #attempt(channel: string, rules: HistoryRules): Promise<"done" | "again"> {
    const { store, memory, writer } = this.#options;
    if (!store.connected) return "again";
    const entries: StoredEntry[] = [];
    let bytes = 0;
    let upTo = "+";
    for (;;) {
      const { base } = writer;
      if (base === null) return "done";
      const withMarks = this.#marksBefore !== base;
      const page = await store.load(channel, upTo, withMarks);
      const complete = Math.max(memory.floorOf(channel), base);
      if (writer.base !== base || !this.#isCovered(page, complete)) return "again";
      if (withMarks) this.#readMarks(page.marks, base);
      const next = upTo === "+" ? page.entries : page.entries.slice(1);
      entries.push(...next);
      bytes += next.reduce((sum, { payload }) => sum + payload.length, 0);
      const oldest = next.at(-1);
      const isEnough = entries.length > rules.count || bytes > rules.bytes;
      if (oldest === undefined || isEnough || !page.intact) {
        this.#add(channel, rules, page, entries.reverse(), complete);
        return "done";
      }
      upTo = oldest.id;
    }
  }

  #isCovered({ end }: StoredChannel, seq: number): boolean {
    const { writer } = this.#options;
    const reached = this.#seqOf(end);
    writer.reached(end);
    return reached !== null && reached >= seq;
  }

  /** Makes the positions before this server's first marker known. */
  #readMarks(text: string, base: number): void {
    const { positions } = this.#options;
    const marks = text.split(";").map((mark) => mark.split(" "));
    for (let i = marks.length - 1; i > 0; i--) {
      const [next = "", n = "", flag = ""] = marks[i] ?? [];
      const [id = ""] = marks[i - 1] ?? [];
      if (next !== positions.oldest?.id || !/^\d{1,15}$/.test(n)) continue;
      positions.precede(next, id, Number(n), flag !== "-");
    }
    this.#marksBefore = base;
  }

  #add(
    channel: string,
    rules: HistoryRules,
    page: StoredChannel,
    entries: readonly StoredEntry[],
    complete: number,
  ): void {
    const { memory } = this.#options;
    const kept: KeptMessage[] = [];
    for (const { id, event, at, payload } of page.intact ? entries : []) {
      const seq = this.#seqOf(id);
      if (seq !== null && seq <= complete) kept.push({ seq, event, payload, at });
    }
    const start = this.#floorOf(page.start, complete);
    const dropped = this.#floorOf(page.intact ? page.floor : page.last, complete);
    let why: Lost = page.why === "age" ? "too old" : "gap";
    if (dropped > start) why = page.intact ? "too many" : "too old";
    memory.extend(channel, rules, kept, Math.max(start, dropped), why);
  }

  /** The number of an id as a floor. One that is older than all known positions needs none; of another one all is lost. */
  #floorOf(id: string, lost: number): number {
    if (id === "") return Number.NEGATIVE_INFINITY;
    const seq = this.#seqOf(id);
    if (seq !== null) return seq;
    const oldest = this.#options.positions.oldest;
    const isOlder = oldest !== null && microsOf(id) < Number.parseInt(oldest.id, 36);
    return isOlder ? Number.NEGATIVE_INFINITY : lost;
  }

  #seqOf(id: string): number | null {
    const position = parseId(id);
    return position === null ? null : this.#options.positions.locate(position.marker, position.n);
  }
}

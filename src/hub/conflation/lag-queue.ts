/** Events of one fanout of which the newest message is kept; with more, the one not updated for longest is left out. */
export const MAX_EVENTS = 100;

export type Frame = string | Buffer;

/** A fanout whose messages wait for a client. */
export interface LagSource {
  /** The notice for a client that `count` messages were left out; `null` where the protocol has none. */
  skipped(count: number): Frame | null;
}

/** Bytes of all frames that wait for a client, each counted once. */
export interface HeldBytes {
  bytes: number;
}

/** A frame that waits for one or more clients. */
export class HeldFrame {
  readonly frame: Frame;
  readonly #total: HeldBytes;
  #holders = 0;

  constructor(frame: Frame, total: HeldBytes) {
    this.frame = frame;
    this.#total = total;
  }

  hold(): void {
    if (this.#holders++ === 0) this.#total.bytes += this.frame.length;
  }

  release(): void {
    if (--this.#holders === 0) this.#total.bytes -= this.frame.length;
  }
}

/** A frame that waits for one client. */
export interface Waiting {
  readonly source: LagSource;
  readonly held: HeldFrame;
}

interface Entry extends Waiting {
  /** `null`: never left out. */
  readonly key: string | null;
}

interface SourceEntries {
  /** The entries with a key, in the order of their arrival. */
  readonly byKey: Map<string, Entry>;
  skipped: number;
}

/** The frames that wait for one client that does not keep up, in the order of their arrival: the newest of each key. */
export class LagQueue {
  readonly #maxBytes: number;
  readonly #entries = new Set<Entry>();
  readonly #sources = new Map<LagSource, SourceEntries>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get empty(): boolean {
    return this.#entries.size === 0;
  }

  /** Whether frames that may not be left out exceed the limit. */
  get overfull(): boolean {
    return this.#bytes > this.#maxBytes;
  }

  /** Adds a frame. Returns the number of messages that are left out for it. */
  put(source: LagSource, key: string | null, held: HeldFrame): number {
    const entry = { source, key, held };
    let leftOut = 0;
    if (key !== null) {
      const { byKey } = this.#of(source);
      const old = byKey.get(key) ?? (byKey.size >= MAX_EVENTS ? byKey.values().next().value : undefined);
      if (old !== undefined) leftOut += this.#leaveOut(old);
      byKey.set(key, entry);
    }
    this.#entries.add(entry);
    this.#bytes += held.frame.length;
    held.hold();
    return this.overfull ? leftOut + this.#shrink(entry) : leftOut;
  }

  /** Removes all frames. Returns them behind the notices of what was left out, and the number left out. */
  take(): { readonly frames: Waiting[]; readonly skipped: number; readonly bytes: number } {
    const frames: Waiting[] = [];
    const bytes = this.#bytes;
    let skipped = 0;
    for (const source of this.#sources.keys()) skipped += this.#notice(source, frames);
    frames.push(...this.#entries);
    this.#entries.clear();
    this.#sources.clear();
    this.#bytes = 0;
    return { frames, skipped, bytes };
  }

  /** As `take`, of one source. */
  takeFrom(source: LagSource): Waiting[] {
    const frames: Waiting[] = [];
    this.#notice(source, frames);
    for (const entry of this.#entries) {
      if (entry.source !== source) continue;
      frames.push(entry);
      this.#entries.delete(entry);
      this.#bytes -= entry.held.frame.length;
    }
    this.#sources.delete(source);
    return frames;
  }

  /** Adds the notice of what was left out of a source. Returns how many messages were. */
  #notice(source: LagSource, frames: Waiting[]): number {
    const skipped = this.#sources.get(source)?.skipped ?? 0;
    const notice = skipped > 0 ? source.skipped(skipped) : null;
    if (notice !== null) frames.push({ source, held: unshared(notice) });
    return skipped;
  }

  /** Leaves out the oldest frames, except `last`, until the rest is within the limit. */
  #shrink(last: Entry): number {
    let leftOut = 0;
    for (const entry of this.#entries) {
      if (!this.overfull) break;
      if (entry.key !== null && entry !== last) leftOut += this.#leaveOut(entry);
    }
    return leftOut;
  }

  #leaveOut(entry: Entry): number {
    const { source, key, held } = entry;
    const entries = this.#of(source);
    if (key !== null) entries.byKey.delete(key);
    entries.skipped++;
    this.#entries.delete(entry);
    this.#bytes -= held.frame.length;
    held.release();
    return 1;
  }

  #of(source: LagSource): SourceEntries {
    let entries = this.#sources.get(source);
    if (entries === undefined) {
      entries = { byKey: new Map(), skipped: 0 };
      this.#sources.set(source, entries);
    }
    return entries;
  }
}

/** A small frame for one client, which is sent at once. */
function unshared(frame: Frame): HeldFrame {
  const held = new HeldFrame(frame, { bytes: 0 });
  held.hold();
  return held;
}

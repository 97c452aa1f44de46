/** Markers that are remembered. Positions of older ones are unknown. */
const MAX_MARKERS = 1024;

/** Characters that a marker may have: base 36, a dot, base 36. */
const MARKER = /^[0-9a-z]{1,12}\.[0-9a-z]{1,8}$/;
const POSITION = /^([0-9a-z]{1,12}\.[0-9a-z]{1,8})-([0-9]{1,15})$/;

/** Why a position cannot be resumed from. `ahead`: not yet, this server may receive what it names in a moment. */
export type Unresolved = "unknown position" | "gap" | "ahead";

/** The newest marker, and the number of the last message before it. */
export type NewestMark = Pick<Mark, "id" | "at">;

/** One marker: where the count of messages began anew, on all servers that received it. */
interface Mark {
  readonly id: string;
  readonly micros: number;
  /** The number of the last message before it. */
  readonly at: number;
}

/** The id of a marker: a time in microseconds in base 36, a dot, and random characters. */
export function printMarker(micros: number, random: string): string {
  return `${micros.toString(36)}.${random}`;
}

/**
 * Numbers the messages that a server receives on `to:`, and translates between these numbers and positions. A position is
 * `<marker>-<n>`: the n-th message after a marker. All servers that received both give a message the same position, because
 * they receive messages and markers in the same order. Numbers are this server's own; those of messages from before its
 * start, which a store may still have, are negative.
 */
export class Positions {
  /** In the order of `at` and of `micros`. */
  readonly #marks: Mark[] = [];
  readonly #byId = new Map<string, number>();
  /** How many marks were forgotten: the index of the first one in `#byId`. */
  #forgotten = 0;
  #seq = 0;
  /** The first number that can be resumed from: a message after it may be missing before. */
  #resumable = 0;
  /** Whether a marker was received since the last gap. */
  #marked = false;

  /** The number of the newest message. */
  get seq(): number {
    return this.#seq;
  }

  /** Numbers the next message. */
  advance(): number {
    return ++this.#seq;
  }

  /** The newest position; `null` while no marker was received since the subscription began. */
  get current(): string | null {
    return this.#marked ? this.at(this.#seq) : null;
  }

  /** The time of the newest marker, in microseconds; 0 without one. */
  get newestMarker(): number {
    return this.#marks.at(-1)?.micros ?? 0;
  }

  /** The number of the last gap: messages after it can be resumed from. */
  get gapAt(): number {
    return this.#resumable;
  }

  /** The newest marker, received since the last gap or before. */
  get newest(): NewestMark | null {
    return this.#marks.at(-1) ?? null;
  }

  /** The oldest marker that is known. */
  get oldest(): NewestMark | null {
    return this.#marks[0] ?? null;
  }

  /** The number of the `n`-th message after a marker, whether or not it can be resumed from; `null` if it is not known. */
  locate(id: string, n: number): number | null {
    const index = this.#byId.get(id);
    if (index === undefined) return null;
    const mark = this.#marks[index - this.#forgotten];
    const next = this.#marks[index - this.#forgotten + 1];
    if (mark === undefined || (next !== undefined && mark.at + n > next.at)) return null;
    const seq = mark.at + n;
    return mark.at < this.#resumable && seq >= this.#resumable ? null : seq;
  }

  /** Whether a number precedes the last gap: messages after it may have been missed. */
  isBeforeGap(seq: number): boolean {
    return seq < this.#resumable;
  }

  /** Applies a marker. One that is malformed, or not above the newest, is ignored. Returns whether it is the newest now. */
  mark(id: string): boolean {
    const micros = timeOf(id);
    if (micros === null || micros <= this.newestMarker) return false;
    this.#byId.set(id, this.#forgotten + this.#marks.length);
    this.#marks.push({ id, micros, at: this.#seq });
    this.#marked = true;
    this.#limit();
    return true;
  }

  /**
   * Applies what another server knows: that marker `next` came `n` messages after marker `id`. Makes positions from before
   * this server's start known. Ignored unless `next` is the oldest marker known here.
   * @param hole whether messages that no server received may lie between the two: nothing is resumed across it
   */
  precede(next: string, id: string, n: number, hole = false): void {
    const [oldest] = this.#marks;
    const micros = timeOf(id);
    if (oldest === undefined || oldest.id !== next || micros === null || micros >= oldest.micros) return;
    if (this.#marks.length >= MAX_MARKERS) return;
    this.#forgotten--;
    this.#byId.set(id, this.#forgotten);
    const at = oldest.at - n - (hole ? 1 : 0);
    this.#marks.unshift({ id, micros, at });
    // Not after a gap of this server's own.
    if (!hole && this.#resumable <= oldest.at) this.#resumable = at;
  }

  /** The subscription was lost: nothing can be resumed across this point. */
  gap(): void {
    this.#seq++;
    this.#resumable = this.#seq;
    this.#marked = false;
  }

  /** The position of a number; `null` if its marker is not known, or is from before the last gap and the number is not. */
  at(seq: number): string | null {
    const mark = this.#markBefore(seq);
    if (mark === null || (mark.at < this.#resumable && seq >= this.#resumable)) return null;
    return `${mark.id}-${seq - mark.at}`;
  }

  /** The number of a position, or why it cannot be resumed from. */
  resolve(position: string): number | Unresolved {
    const [, id, digits] = POSITION.exec(position) ?? [];
    if (id === undefined) return "unknown position";
    const index = this.#byId.get(id);
    if (index === undefined) return (timeOf(id) ?? 0) > this.newestMarker ? "ahead" : "unknown position";
    const mark = this.#marks[index - this.#forgotten];
    if (mark === undefined) return "unknown position";
    const seq = mark.at + Number(digits);
    if (mark.at < this.#resumable) return "gap";
    const next = this.#marks[index - this.#forgotten + 1];
    if (next === undefined) return seq > this.#seq ? "ahead" : seq;
    return seq > next.at ? "unknown position" : seq;
  }

  /** The number that a position has, or will have: also beyond the newest message. `null` if its marker is not known. */
  numberOf(position: string): number | null {
    const [, id = "", digits] = POSITION.exec(position) ?? [];
    const index = this.#byId.get(id);
    const mark = index === undefined ? undefined : this.#marks[index - this.#forgotten];
    return mark === undefined ? null : mark.at + Number(digits);
  }

  /** The last mark at or before a number. */
  #markBefore(seq: number): Mark | null {
    let low = 0;
    let high = this.#marks.length;
    // The newest first: it is nearly always the one.
    const last = this.#marks[high - 1];
    if (last === undefined) return null;
    if (last.at <= seq) return last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#marks[middle]?.at ?? 0) <= seq) low = middle + 1;
      else high = middle;
    }
    return this.#marks[low - 1] ?? null;
  }

  #limit(): void {
    if (this.#marks.length <= MAX_MARKERS) return;
    const oldest = this.#marks.shift();
    this.#forgotten++;
    if (oldest !== undefined) this.#byId.delete(oldest.id);
  }
}

/** The time of a marker in microseconds; `null` if it is malformed. */
function timeOf(id: string): number | null {
  if (!MARKER.test(id)) return null;
  const micros = Number.parseInt(id.slice(0, id.indexOf(".")), 36);
  return Number.isSafeInteger(micros) ? micros : null;
}

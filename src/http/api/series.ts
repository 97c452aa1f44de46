/** What a series keeps of each interval: rates per second, and the greatest value of each gauge. */
export interface SeriesShape {
  /** ms. */
  readonly interval: number;
  /** Intervals kept. */
  readonly slots: number;
  readonly rates: readonly string[];
  readonly gauges: readonly string[];
}

/** Figures over time in a ring of fixed size: one row for each interval, `NaN` where there was no sample. */
export class Series {
  readonly shape: SeriesShape;
  /** Values of a row. */
  readonly width: number;
  readonly #rows: Float32Array;
  /** The interval that each row is of, counted from 1970. */
  readonly #slots: Float64Array;
  /** Sums of the interval that is not over yet. */
  readonly #deltas: Float64Array;
  #ms = 0;
  #current = -1;

  constructor(shape: SeriesShape) {
    this.shape = shape;
    this.width = shape.rates.length + shape.gauges.length;
    this.#rows = new Float32Array(this.width * shape.slots);
    this.#slots = new Float64Array(shape.slots).fill(-1);
    this.#deltas = new Float64Array(shape.rates.length);
  }

  /**
   * Adds a sample. An interval has a row from its first sample on.
   * @param at unix time in ms
   * @param ms the time in which the counters grew by `deltas`; 0 if they cannot be compared
   */
  add(at: number, ms: number, deltas: readonly number[], gauges: readonly number[]): void {
    const slot = Math.floor(at / this.shape.interval);
    const index = slot % this.shape.slots;
    const row = this.#rows.subarray(index * this.width, (index + 1) * this.width);
    if (slot !== this.#current) {
      this.#current = slot;
      this.#slots[index] = slot;
      this.#deltas.fill(0);
      this.#ms = 0;
      row.fill(Number.NaN);
    }
    this.#ms += ms;
    for (let i = 0; i < this.#deltas.length; i++) {
      const sum = (this.#deltas[i] ?? 0) + (ms > 0 ? Math.max(deltas[i] ?? 0, 0) : 0);
      this.#deltas[i] = sum;
      if (this.#ms > 0) row[i] = (sum * 1000) / this.#ms;
    }
    for (const [i, value] of gauges.entries()) {
      const at = this.#deltas.length + i;
      const known = row[at] ?? Number.NaN;
      row[at] = Number.isNaN(known) ? value : Math.max(known, value);
    }
  }

  /** The rows of `count` intervals up to the one of `now`, one after the other. */
  rows(now: number, count: number): Float32Array {
    const last = Math.floor(now / this.shape.interval);
    const found = new Float32Array(count * this.width).fill(Number.NaN);
    for (let i = 0; i < count; i++) {
      const slot = last - count + 1 + i;
      const index = slot % this.shape.slots;
      if (slot < 0 || this.#slots[index] !== slot) continue;
      found.set(this.#rows.subarray(index * this.width, (index + 1) * this.width), i * this.width);
    }
    return found;
  }
}

/** Rows as text, for other servers. */
export function encodeRows(rows: Float32Array): string {
  return Buffer.from(rows.buffer, rows.byteOffset, rows.byteLength).toString("base64");
}

/** The rows in a text; `null` unless it has `length` values. */
export function decodeRows(text: unknown, length: number): Float32Array | null {
  if (typeof text !== "string" || text.length > 8 * length) return null;
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== length * 4) return null;
  const rows = new Float32Array(length);
  for (let i = 0; i < length; i++) rows[i] = bytes.readFloatLE(i * 4);
  return rows;
}

/** The values of each column by its name: rounded, `null` where there is none. */
export function columnsOf(rows: Float32Array, names: readonly string[]): Record<string, (number | null)[]> {
  const columns: Record<string, (number | null)[]> = {};
  for (const [at, name] of names.entries()) {
    const values: (number | null)[] = [];
    for (let i = at; i < rows.length; i += names.length) {
      const value = rows[i] ?? Number.NaN;
      values.push(Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null);
    }
    columns[name] = values;
  }
  return columns;
}

/** The columns of a series, in the order of its rows. */
export function namesOf({ rates, gauges }: SeriesShape): string[] {
  return [...rates, ...gauges];
}

/**
 * Replaces rows by those of another server where they are better: the value of `column` is greater, or known at all.
 * @param width values of a row
 */
export function completeRows(rows: Float32Array, other: Float32Array, width: number, column: number): void {
  for (let from = 0; from < rows.length; from += width) {
    const known = rows[from + column] ?? Number.NaN;
    const seen = other[from + column] ?? Number.NaN;
    if (Number.isNaN(seen) || known >= seen) continue;
    rows.set(other.subarray(from, from + width), from);
  }
}

/** Adds the values of another server. */
export function addRows(rows: Float32Array, other: Float32Array): void {
  for (const [i, value] of other.entries()) {
    if (Number.isNaN(value)) continue;
    const known = rows[i] ?? Number.NaN;
    rows[i] = Number.isNaN(known) ? value : known + value;
  }
}

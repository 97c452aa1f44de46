/** Part of a list in an order, without sorting all of it. */
export interface PageOf<T> {
  /** How many there are with the others. */
  readonly matching: number;
  readonly rows: readonly T[];
}

/**
 * The rows from `offset` on, in the order of `compare`. Of a long list only the first rows are put in order: a hundred
 * thousand channels are asked for every second.
 */
export function pageOf<T>(
  items: Iterable<T>,
  wanted: (item: T) => boolean,
  compare: (a: T, b: T) => number,
  offset: number,
  limit: number,
): PageOf<T> {
  const keep = offset + limit;
  let matching = 0;
  let best: T[] = [];
  let sorted = 0;
  for (const item of items) {
    if (!wanted(item)) continue;
    matching++;
    const worst = sorted === keep ? best[keep - 1] : undefined;
    if (worst !== undefined && compare(item, worst) >= 0) continue;
    best.push(item);
    if (best.length < keep * 2 + 64) continue;
    best.sort(compare);
    best = best.slice(0, keep);
    sorted = best.length;
  }
  best.sort(compare);
  return { matching, rows: best.slice(offset, keep) };
}

/** By code units: the same everywhere, and ten times as fast as by a language's rules. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

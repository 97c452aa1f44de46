/**
 * The candidate that a mistyped word most likely meant, or `undefined` where none is near: more than every third
 * letter wrong is no typing error. The last part of a dotted name is as good as the whole.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const tail = candidate.slice(candidate.lastIndexOf(".") + 1);
    const steps = Math.min(distance(word, candidate), distance(word, tail));
    if (steps < least) [best, least] = [candidate, steps];
  }
  return least <= Math.max(1, Math.floor(word.length / 3)) ? best : undefined;
}

/** A list longer than this is no help in an error of one line. */
const MAX_LISTED = 16;

/**
 * The end of a sentence about an unknown word: the one that was meant, or those that there are. `prefix` stands before
 * all of them, and says nothing about how near they are. `listed` are those to tell, and `lister` what tells them where
 * they are too many.
 */
export function hint(
  word: string,
  known: readonly string[],
  kind: string,
  prefix = "",
  listed = known,
  lister = '"channel config"',
): string {
  const meant = nearest(word, known);
  if (meant !== undefined) return `did you mean ${prefix}${meant}?`;
  return listed.length <= MAX_LISTED
    ? `known ${kind}: ${listed.join(", ")}`
    : `${lister} lists the known ${kind}`;
}

/** How many letters must be put in, taken out, replaced, or swapped with their neighbour to turn `a` into `b`. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        (row[j - 1] ?? 0) + 1,
        (last[j] ?? 0) + 1,
        (last[j - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

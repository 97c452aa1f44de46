/**
 * The candidate closest to a mistyped word, or `undefined` if more than a third of its letters differ. The last part of a
 * dotted name counts like the full name.
 */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const tail = candidate.slice(candidate.lastIndexOf(".") + 1);
    const steps = Math.min(distance(word, candidate), distance(word, tail));
    if (steps < least) [best, least] = [candidate, steps];
  }
  return least <= Math.max(1, Math.floor(word.length / 3)) ? best : undefined;
}

/** Most words listed in an error line. */
const MAX_LISTED = 16;

/**
 * The end of a sentence about an unknown word: a suggestion, or the list of known words.
 * @param prefix printed before a suggestion; not compared
 * @param listed the words to list, if not all that are known
 * @param lister the command that lists them, named if there are more than `MAX_LISTED`
 */
export function hint(
  word: string,
  known: readonly string[],
  noun: string,
  prefix = "",
  listed = known,
  lister = '"channel config"',
): string {
  const meant = suggest(word, known);
  if (meant !== undefined) return `did you mean ${prefix}${meant}?`;
  return listed.length <= MAX_LISTED
    ? `known ${noun}: ${listed.join(", ")}`
    : `${lister} lists the known ${noun}`;
}

/** Edit distance: insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
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

/**
 * Ids of stream entries, and the positions that they stand for. The id of position `<micros>.<random>-<n>` (all but `n` in
 * base 36) is `<micros>-<random><n>` in decimal, with 13 digits of `n`: ids are in the order of positions.
 */
export interface StoredPosition {
  readonly marker: string;
  readonly n: number;
}

const N_DIGITS = 13;
const MAX_N = 10 ** N_DIGITS - 1;
/** An id has 64 bits on each side. */
const MAX_RANDOM = 1_800_000;

const ID = /^(\d{1,16})-(\d{1,20})$/;

/** What the ids of one marker begin with. */
export interface IdHead {
  readonly micros: number;
  readonly random: number;
}

/** `null` for a marker that has no ids: malformed, or with more random characters than servers use. */
export function idHead(marker: string): IdHead | null {
  const [time = "", text = ""] = marker.split(".");
  const micros = Number.parseInt(time, 36);
  const random = Number.parseInt(text, 36);
  const isExact = `${micros.toString(36)}.${random.toString(36)}` === marker;
  return isExact && Number.isSafeInteger(micros) && random <= MAX_RANDOM ? { micros, random } : null;
}

/** The id of the `n`-th message after a marker. */
export function printId({ micros, random }: IdHead, n: number): string {
  if (random === 0) return `${micros}-${n}`;
  return `${micros}-${random}${String(Math.min(n, MAX_N)).padStart(N_DIGITS, "0")}`;
}

/** The position of an id; `null` if it is malformed. */
export function parseId(id: string): StoredPosition | null {
  const [, micros, digits] = ID.exec(id) ?? [];
  if (micros === undefined || digits === undefined) return null;
  const random = Number(digits.slice(0, -N_DIGITS) || "0");
  const marker = `${Number(micros).toString(36)}.${random.toString(36)}`;
  return { marker, n: Number(digits.slice(-N_DIGITS)) };
}

/** The time of an id's marker, in microseconds; `NaN` if it is malformed. */
export function microsOf(id: string): number {
  return Number.parseInt(id, 10);
}

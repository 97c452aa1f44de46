const STAR = 42;
const MINUS = 45;
const QUESTION = 63;
const OPEN = 91;
const BACKSLASH = 92;
const CLOSE = 93;
const CARET = 94;

/** Pattern elements per 32-bit word of the state. */
const WORD = 32;

/** A compiled pattern of PSUBSCRIBE. */
export interface Glob {
  matches(name: Uint8Array): boolean;
}

/**
 * Compiles a pattern with the rules of PSUBSCRIBE in Redis, by bytes: `*` any bytes, `?` one byte, `[abc]`, `[a-z]` (in
 * either order) and `[^a]` a class, `\` an escape, in a class too. An unclosed class ends with the pattern; an empty name
 * matches only the empty pattern.
 *
 * Matching never backtracks: all partial matches are bits of a state, so the cost is the name's length times the pattern's
 * length / 32.
 */
export function compileGlob(pattern: Uint8Array): Glob {
  return new BitGlob(pattern);
}

/** Whether a name matches a pattern, compiled for this call. */
export function globMatches(pattern: Uint8Array, name: Uint8Array): boolean {
  return compileGlob(pattern).matches(name);
}

class BitGlob implements Glob {
  /** Number of elements without stars. Bit `i` of a state: the first `i` elements match. */
  readonly #size: number;
  readonly #words: number;
  /** Whether the pattern ends with a star: once all elements match, the name matches. */
  readonly #open: boolean;
  /** Bit `i`: a star is between elements `i - 1` and `i`. */
  readonly #stars: Uint32Array;
  /** The row of `#accepts` for a byte. Bytes that the pattern treats alike share a row. */
  readonly #rows = new Uint8Array(256);
  /** Rows of bits: bit `i` is set if element `i` accepts the bytes of the row. */
  readonly #accepts: Uint32Array;
  readonly #state: Uint32Array;

  constructor(pattern: Uint8Array) {
    const elements: Uint8Array[] = [];
    const stars: number[] = [];
    const literals: Uint8Array[] = [];
    for (let at = 0; at < pattern.length; ) {
      if (pattern[at] === STAR) {
        stars.push(elements.length);
        at++;
      } else if (pattern[at] === QUESTION || pattern[at] === OPEN || pattern[at] === BACKSLASH) {
        const accepted = new Uint8Array(256);
        at = readElement(pattern, at, accepted);
        elements.push(accepted);
      } else {
        // Equal literals share one array: they are looked at once.
        const byte = pattern[at++] ?? 0;
        const accepted = literals[byte] ?? new Uint8Array(256);
        accepted[byte] = 1;
        literals[byte] = accepted;
        elements.push(accepted);
      }
    }
    this.#size = elements.length;
    this.#words = Math.floor(this.#size / WORD) + 1;
    this.#open = stars.at(-1) === this.#size;
    this.#stars = new Uint32Array(this.#words);
    for (const index of stars) setBit(this.#stars, 0, index);
    this.#state = new Uint32Array(this.#words);

    // Splits the bytes into rows until no element accepts one part of a row only.
    const heads = [0];
    for (const accepted of new Set(elements)) splitRows(this.#rows, heads, accepted);
    this.#accepts = new Uint32Array(heads.length * this.#words);
    for (const [row, byte] of heads.entries()) {
      for (let i = 0; i < elements.length; i++) {
        if (elements[i]?.[byte] === 1) setBit(this.#accepts, row * this.#words, i);
      }
    }
  }

  matches(name: Uint8Array): boolean {
    if (name.length === 0) return this.#size === 0 && !this.#open;
    const words = this.#words;
    const state = this.#state.fill(0);
    const stars = this.#stars;
    const accepts = this.#accepts;
    const lastWord = words - 1;
    const lastBit = 1 << (this.#size % WORD);
    state[0] = 1;
    for (let n = 0; n < name.length; n++) {
      if (this.#open && ((state[lastWord] ?? 0) & lastBit) !== 0) return true;
      const row = (this.#rows[name[n] ?? 0] ?? 0) * words;
      let carry = 0;
      let any = 0;
      for (let w = 0; w < words; w++) {
        const now = state[w] ?? 0;
        const advanced = now & (accepts[row + w] ?? 0);
        const next = (advanced << 1) | carry | (now & (stars[w] ?? 0));
        carry = advanced >>> (WORD - 1);
        state[w] = next;
        any |= next;
      }
      if (any === 0) return false;
    }
    return ((state[lastWord] ?? 0) & lastBit) !== 0;
  }
}

/** Puts the accepted bytes of each row into a row of their own; `heads` has one byte of each row. */
function splitRows(rows: Uint8Array, heads: number[], accepted: Uint8Array): void {
  const split = new Map<number, number>();
  for (let byte = 0; byte < 256; byte++) {
    const row = rows[byte] ?? 0;
    const head = heads[row] ?? 0;
    if (accepted[byte] === accepted[head]) continue;
    let other = split.get(row);
    if (other === undefined) {
      other = heads.length;
      heads.push(byte);
      split.set(row, other);
    }
    rows[byte] = other;
  }
}

function setBit(words: Uint32Array, from: number, index: number): void {
  const word = from + Math.floor(index / WORD);
  words[word] = (words[word] ?? 0) | (1 << (index % WORD));
}

/** Reads the element at `at`, which matches one byte; marks the bytes that it accepts. Returns the offset after it. */
function readElement(pattern: Uint8Array, at: number, accepted: Uint8Array): number {
  const symbol = pattern[at];
  if (symbol === QUESTION) {
    accepted.fill(1);
    return at + 1;
  }
  if (symbol === OPEN) return readClass(pattern, at + 1, accepted);
  const literal = symbol === BACKSLASH && at + 1 < pattern.length ? at + 1 : at;
  accepted[pattern[literal] ?? 0] = 1;
  return literal + 1;
}

function readClass(pattern: Uint8Array, start: number, accepted: Uint8Array): number {
  const { length } = pattern;
  const negated = pattern[start] === CARET;
  let at = negated ? start + 1 : start;
  while (at < length && pattern[at] !== CLOSE) {
    if (pattern[at] === BACKSLASH && at + 1 < length) {
      accepted[pattern[at + 1] ?? 0] = 1;
      at += 2;
    } else if (at + 2 < length && pattern[at + 1] === MINUS) {
      const one = pattern[at] ?? 0;
      const other = pattern[at + 2] ?? 0;
      accepted.fill(1, Math.min(one, other), Math.max(one, other) + 1);
      at += 3;
    } else {
      accepted[pattern[at] ?? 0] = 1;
      at++;
    }
  }
  if (negated) for (let byte = 0; byte < 256; byte++) accepted[byte] = accepted[byte] === 1 ? 0 : 1;
  return Math.min(at + 1, length);
}

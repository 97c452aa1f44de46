import type { JsonObject } from "../../auth/json-object.ts";

/** Hashes of a sketch: with more names, their number is known to about 5 %. */
const SIZE = 512;

/**
 * The smallest hashes of a set of names (k minimum values): from those of several servers follows how many different names
 * they have together, without sending the names.
 */
export class Sketch {
  /** From 0 to 1; unordered, and at most twice as many as needed. */
  #values: number[] = [];
  #limit = 1;

  add(name: string): void {
    const hash = hashOf(name);
    if (hash >= this.#limit) return;
    this.#values.push(hash);
    if (this.#values.length < 2 * SIZE) return;
    this.#values = smallest(this.#values);
    this.#limit = this.#values.at(-1) ?? 1;
  }

  get values(): readonly number[] {
    return smallest(this.#values);
  }
}

/** How many different names several sets have; exact up to `SIZE` names. */
export function distinct(sketches: readonly (readonly number[])[]): number {
  const values = smallest([...new Set(sketches.flat())]);
  const last = values.at(-1);
  return values.length < SIZE || last === undefined || last === 0
    ? values.length
    : Math.round((SIZE - 1) / last);
}

/** The sketch in the answer of another server. */
export function readSketch(head: JsonObject | undefined): readonly number[] {
  const values = head?.sketch;
  return Array.isArray(values) ? values.filter((value) => typeof value === "number").slice(0, SIZE) : [];
}

function smallest(values: readonly number[]): number[] {
  return values.toSorted((a, b) => a - b).slice(0, SIZE);
}

function hashOf(name: string): number {
  return Number(BigInt(Bun.hash(name)) >> 12n) / 2 ** 52;
}

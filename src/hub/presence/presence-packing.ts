import type { Meta } from "./presence-store.ts";
import { encodeMeta } from "./presence-wire.ts";

/** Collects JSON values, and joins them to arrays of a limited size. */
export class Packing {
  readonly #max: number;
  readonly #packed: string[] = [];
  #text = "";
  #bytes = 0;

  /** @param max bytes of one array; a larger value is alone in its array */
  constructor(max: number) {
    this.#max = max;
  }

  add(value: string): void {
    const bytes = Buffer.byteLength(value) + 1;
    if (this.#text !== "" && this.#bytes + bytes > this.#max) this.#end();
    this.#text += this.#text === "" ? value : `,${value}`;
    this.#bytes += bytes;
  }

  /** The arrays. */
  end(): readonly string[] {
    if (this.#text !== "") this.#end();
    return this.#packed;
  }

  #end(): void {
    this.#packed.push(`[${this.#text}]`);
    this.#text = "";
    this.#bytes = 0;
  }
}

/**
 * Packs the changes of one channel: `[channel, joins, leaves]`, several if they are large.
 * @returns the joins as they are stored
 */
export function packChange(
  packing: Packing,
  max: number,
  channel: string,
  joins: Iterable<Meta>,
  leaves: Iterable<string>,
): string[] {
  const name = JSON.stringify(channel);
  const stored: string[] = [];
  const [joined, left] = [new Packing(max), new Packing(max)];
  for (const meta of joins) {
    const text = encodeMeta(meta);
    stored.push(text);
    joined.add(text);
  }
  for (const ref of leaves) left.add(JSON.stringify(ref));
  const [allJoins, allLeaves] = [joined.end(), left.end()];
  if (allJoins.length <= 1 && allLeaves.length <= 1) {
    packing.add(`[${name},${allJoins[0] ?? "[]"},${allLeaves[0] ?? "[]"}]`);
    return stored;
  }
  // A meta is added before the one that it replaced is removed.
  for (const each of allJoins) packing.add(`[${name},${each},[]]`);
  for (const each of allLeaves) packing.add(`[${name},[],${each}]`);
  return stored;
}

import { open, readFile } from "node:fs/promises";

/** Options of mimalloc with a time, and the defaults that they get in the executable. */
export const ALLOCATOR_OPTIONS: Readonly<Record<string, number>> = {
  /** ms for which freed memory is kept for reuse. Its own default is 100. */
  purge_delay: 60_000,
  /** ms at least between two searches for free blocks in pages that are in use, to be returned as well. Its own default is 100. */
  purge_holes_min_interval: 10_000,
};

// Types and flags of program headers, and their size.
const PT_LOAD = 1;
const PF_W = 2;
const HEADER_SIZE = 56;

/** A part of a file that is loaded at an address. */
interface Segment {
  readonly offset: number;
  readonly address: number;
  readonly size: number;
  readonly writable: boolean;
}

/**
 * Sets the defaults of mimalloc's options in an executable for Linux: memory that large messages free is reused instead of
 * returned to the kernel and fetched again. The runtime exports no function that sets them, and reads `MIMALLOC_PURGE_DELAY` and
 * `MIMALLOC_PURGE_HOLES_MIN_INTERVAL`, which have priority, before any code of ours runs.
 * @throws Error if an option is not found exactly once
 */
export async function setAllocatorOptions(file: string): Promise<void> {
  const elf = await readFile(file);
  const values = Object.entries(ALLOCATOR_OPTIONS).map(([name, value]) => ({
    value,
    at: optionAt(elf, name),
  }));
  const handle = await open(file, "r+");
  try {
    for (const { value, at } of values) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(value));
      await handle.write(bytes, 0, bytes.length, at);
    }
  } finally {
    await handle.close();
  }
}

/** The offset of an option's value (`long`) in an ELF file of 64 bits, little endian, that is loaded at fixed addresses. */
export function optionAt(elf: Buffer, name: string): number {
  const found = segmentsOf(elf).flatMap((segment, _, all) =>
    namesIn(elf, name, segment).flatMap((address) => optionsNamed(elf, address, all)),
  );
  const [at] = found;
  if (at === undefined || found.length > 1)
    throw new Error(
      `the option ${name} of mimalloc was found ${found.length} times in the runtime: see deploy/release/allocator-options.ts`,
    );
  return at;
}

function segmentsOf(elf: Buffer): Segment[] {
  if (elf.length < 64 || elf.toString("latin1", 0, 6) !== "\u007fELF\u0002\u0001")
    throw new Error("not an ELF file of 64 bits, little endian");
  const start = Number(elf.readBigUInt64LE(32));
  const count = elf.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => start + index * HEADER_SIZE)
    .filter((at) => elf.readUInt32LE(at) === PT_LOAD)
    .map((at) => ({
      writable: (elf.readUInt32LE(at + 4) & PF_W) !== 0,
      offset: Number(elf.readBigUInt64LE(at + 8)),
      address: Number(elf.readBigUInt64LE(at + 16)),
      size: Number(elf.readBigUInt64LE(at + 32)),
    }));
}

/** Addresses of a name in a segment. */
function namesIn(elf: Buffer, name: string, { offset, address, size }: Segment): number[] {
  const wanted = Buffer.from(`\0${name}\0`);
  return indexesOf(elf.subarray(offset, offset + size), wanted).map((at) => address + at + 1);
}

/**
 * Offsets of the values of options with the name at an address. An option is
 * `{ long value; int state; int number; const char *name; const char *older_name; }`, and its state is 0 until it is read.
 */
function optionsNamed(elf: Buffer, name: number, segments: readonly Segment[]): number[] {
  const pointer = Buffer.alloc(8);
  pointer.writeBigUInt64LE(BigInt(name));
  return segments
    .filter(({ writable }) => writable)
    .flatMap(({ offset, size }) =>
      indexesOf(elf.subarray(offset, offset + size), pointer).map((at) => offset + at - 16),
    )
    .filter(
      (at) => at % 8 === 0 && at >= 0 && isTime(elf.readBigInt64LE(at)) && elf.readInt32LE(at + 8) === 0,
    );
}

function isTime(value: bigint): boolean {
  return value >= 0n && value <= 1_000_000n;
}

function indexesOf(bytes: Buffer, wanted: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) found.push(at);
  return found;
}

import { open, readFile } from "node:fs/promises";

/** ms for which the allocator keeps freed memory for reuse. Its own default is 100. */
const PURGE_DELAY = 60_000;

const NAME = Buffer.from("\0purge_delay\0");

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
 * Sets the default of mimalloc's option `purge_delay` in an executable for Linux: memory that large messages free is reused instead
 * of returned to the kernel and fetched again. The runtime exports no function that sets it, and reads `MIMALLOC_PURGE_DELAY`, which
 * has priority, before any code of ours runs.
 * @throws Error if the option is not found exactly once
 */
export async function keepFreedMemory(file: string): Promise<void> {
  const at = purgeDelayAt(await readFile(file));
  const value = Buffer.alloc(8);
  value.writeBigInt64LE(BigInt(PURGE_DELAY));
  const handle = await open(file, "r+");
  try {
    await handle.write(value, 0, value.length, at);
  } finally {
    await handle.close();
  }
}

/** The offset of the option's value (`long`) in an ELF file of 64 bits, little endian, that is loaded at fixed addresses. */
export function purgeDelayAt(elf: Buffer): number {
  const found = segmentsOf(elf).flatMap((segment, _, all) =>
    namesIn(elf, segment).flatMap((address) => optionsNamed(elf, address, all)),
  );
  const [at] = found;
  if (at === undefined || found.length > 1)
    throw new Error(
      `the option purge_delay of mimalloc was found ${found.length} times in the runtime: see deploy/release/purge-delay.ts`,
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

/** Addresses of the name in a segment. */
function namesIn(elf: Buffer, { offset, address, size }: Segment): number[] {
  return indexesOf(elf.subarray(offset, offset + size), NAME).map((at) => address + at + 1);
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
      (at) => at % 8 === 0 && at >= 0 && isDelay(elf.readBigInt64LE(at)) && elf.readInt32LE(at + 8) === 0,
    );
}

function isDelay(value: bigint): boolean {
  return value >= 0n && value <= 1_000_000n;
}

function indexesOf(bytes: Buffer, wanted: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) found.push(at);
  return found;
}

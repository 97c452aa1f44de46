import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { optionAt, setAllocatorOptions } from "../../../deploy/release/allocator-options.ts";

// Names are in a segment of their own at 0x1000, options at 0x2000 in a writable one. Both are loaded at other addresses.
const NAMES_AT = 0x1000;
const OPTIONS_AT = 0x2000;
const NAMES_ADDRESS = 0x20_1000;
const OPTIONS_ADDRESS = 0x60_2000;
const SIZE = 0x1000;
const READ = 4;
const WRITE = 6;

interface Option {
  readonly name: string;
  readonly value: bigint;
  readonly state?: number;
}

/** An executable with these options, `{ long value; int state; int number; char *name; char *older_name; }` each. */
function elfWith(options: readonly Option[], writable = WRITE): Buffer {
  const elf = Buffer.alloc(OPTIONS_AT + SIZE);
  elf.write("\u007fELF\u0002\u0001", "latin1");
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(2, 56);
  header(elf, 64, READ, NAMES_AT, NAMES_ADDRESS);
  header(elf, 64 + 56, writable, OPTIONS_AT, OPTIONS_ADDRESS);
  let nameAt = NAMES_AT + 1;
  options.forEach(({ name, value, state = 0 }, index) => {
    const at = OPTIONS_AT + 40 * index;
    elf.writeBigInt64LE(value, at);
    elf.writeInt32LE(state, at + 8);
    elf.writeInt32LE(index, at + 12);
    elf.writeBigUInt64LE(BigInt(NAMES_ADDRESS + nameAt - NAMES_AT), at + 16);
    nameAt += elf.write(`${name}\0`, nameAt, "latin1");
  });
  return elf;
}

function header(elf: Buffer, at: number, flags: number, offset: number, address: number): void {
  elf.writeUInt32LE(1, at);
  elf.writeUInt32LE(flags, at + 4);
  elf.writeBigUInt64LE(BigInt(offset), at + 8);
  elf.writeBigUInt64LE(BigInt(address), at + 16);
  elf.writeBigUInt64LE(BigInt(SIZE), at + 32);
}

const OTHERS = [
  { name: "eager_purge_delay", value: 1n },
  { name: "purge_delay_", value: 2n },
  { name: "purge_holes_large_floor", value: 4096n },
] as const;
const DELAY = { name: "purge_delay", value: 100n } as const;
const INTERVAL = { name: "purge_holes_min_interval", value: 100n } as const;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "channel-elf-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("the options get their new values, and nothing else changes", async () => {
  const elf = elfWith([INTERVAL, ...OTHERS, DELAY]);
  const file = join(folder, "executable");
  writeFileSync(file, elf);
  await setAllocatorOptions(file);
  const expected = Buffer.from(elf);
  expected.writeBigInt64LE(10_000n, OPTIONS_AT);
  expected.writeBigInt64LE(60_000n, OPTIONS_AT + 160);
  expect(readFileSync(file).equals(expected)).toBe(true);
});

test.each([DELAY, INTERVAL])(
  "an executable without $name is refused, and stays as it was",
  async (missing) => {
    const elf = elfWith([DELAY, INTERVAL, ...OTHERS].filter((option) => option !== missing));
    const file = join(folder, "executable");
    writeFileSync(file, elf);
    await expect(setAllocatorOptions(file)).rejects.toThrow(
      `the option ${missing.name} of mimalloc was found 0 times`,
    );
    expect(readFileSync(file).equals(elf)).toBe(true);
  },
);

test("a pointer to the name that is no option is passed over", () => {
  const elf = elfWith([DELAY, { name: "", value: -1n }, { name: "", value: 5n, state: 7 }]);
  for (const index of [1, 2]) elf.writeBigUInt64LE(BigInt(NAMES_ADDRESS + 1), OPTIONS_AT + 40 * index + 16);
  expect(optionAt(elf, "purge_delay")).toBe(OPTIONS_AT);
});

test("an executable without an option, with two of its name, or with one that is read-only is refused", () => {
  expect(() => optionAt(elfWith(OTHERS), "purge_delay")).toThrow("found 0 times");
  expect(() => optionAt(elfWith([DELAY, ...OTHERS, DELAY]), "purge_delay")).toThrow("found 2 times");
  expect(() => optionAt(elfWith([DELAY], READ), "purge_delay")).toThrow("found 0 times");
});

test("what is not an ELF file of 64 bits is refused", () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from("MZ"), Buffer.alloc(200)])
    expect(() => optionAt(bytes, "purge_delay")).toThrow("not an ELF file");
});

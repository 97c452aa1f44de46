/**
 * Just enough of an assembler to write one WebAssembly function as TypeScript: expressions are values with methods,
 * statements are calls on `Code`. It makes what it is told, in that order, and leaves optimising to the engine.
 * Opcodes and encodings are those of the WebAssembly Core Specification 2.0, section 5 (binary format).
 */

/** Code is kept as the tree that it was written as, and laid out flat only once. */
type Bytes = readonly (number | Bytes)[];

/** 32 bits. Comparisons give 0 or 1; all of them are unsigned. */
export class I32 {
  readonly code: Bytes;
  constructor(code: Bytes) {
    this.code = code;
  }
  plus(other: I32 | number): I32 {
    return this.#with(other, 0x6a);
  }
  minus(other: I32 | number): I32 {
    return this.#with(other, 0x6b);
  }
  and(other: I32 | number): I32 {
    return this.#with(other, 0x71);
  }
  or(other: I32 | number): I32 {
    return this.#with(other, 0x72);
  }
  equals(other: I32 | number): I32 {
    return this.#with(other, 0x46);
  }
  below(other: I32 | number): I32 {
    return this.#with(other, 0x49);
  }
  atMost(other: I32 | number): I32 {
    return this.#with(other, 0x4d);
  }
  isZero(): I32 {
    return new I32([this.code, 0x45]);
  }
  wide(): I64 {
    return new I64([this.code, 0xad]);
  }
  /** The byte in memory at this address. */
  byte(offset = 0): I32 {
    return new I32([this.code, 0x2d, 0, unsigned(offset)]);
  }
  /** Four bytes in memory from this address on, little endian. */
  word(offset = 0): I32 {
    return new I32([this.code, 0x28, 0, unsigned(offset)]);
  }
  /** Sixteen bytes in memory from this address on. */
  vector(offset = 0): V128 {
    return new V128([this.code, 0xfd, 0x00, 0, unsigned(offset)]);
  }
  #with(other: I32 | number, opcode: number): I32 {
    return new I32([this.code, (typeof other === "number" ? i32(other) : other).code, opcode]);
  }
}

/** 64 bits, mostly one for each byte of a block. Shifts to the right fill with zeros, except `sign`. */
export class I64 {
  readonly code: Bytes;
  constructor(code: Bytes) {
    this.code = code;
  }
  plus(other: I64): I64 {
    return this.#with(other, 0x7c);
  }
  minus(other: I64): I64 {
    return this.#with(other, 0x7d);
  }
  and(other: I64): I64 {
    return this.#with(other, 0x83);
  }
  or(other: I64): I64 {
    return this.#with(other, 0x84);
  }
  xor(other: I64): I64 {
    return this.#with(other, 0x85);
  }
  not(): I64 {
    return this.xor(i64(-1));
  }
  without(other: I64): I64 {
    return this.and(other.not());
  }
  up(count: I64 | number): I64 {
    return this.#with(typeof count === "number" ? i64(count) : count, 0x86);
  }
  down(count: I64 | number): I64 {
    return this.#with(typeof count === "number" ? i64(count) : count, 0x88);
  }
  /** All ones if the highest bit is set, else all zeros. */
  sign(): I64 {
    return this.#with(i64(63), 0x87);
  }
  lowestIndex(): I64 {
    return new I64([this.code, 0x7a]);
  }
  isZero(): I32 {
    return new I32([this.code, 0x50]);
  }
  isSet(): I32 {
    return this.isZero().isZero();
  }
  narrow(): I32 {
    return new I32([this.code, 0xa7]);
  }
  #with(other: I64, opcode: number): I64 {
    return new I64([this.code, other.code, opcode]);
  }
}

/** Sixteen bytes side by side. Comparisons give 0xff or 0 for each byte. */
export class V128 {
  readonly code: Bytes;
  constructor(code: Bytes) {
    this.code = code;
  }
  or(other: V128 | number): V128 {
    return this.#with(other, 0x50);
  }
  plus(other: V128 | number): V128 {
    return this.#with(other, 0x6e);
  }
  least(other: V128 | number): V128 {
    return this.#with(other, 0x77);
  }
  equals(other: V128 | number): V128 {
    return this.#with(other, 0x23);
  }
  below(other: V128 | number): V128 {
    return this.#with(other, 0x26);
  }
  belowSigned(other: V128 | number): V128 {
    return this.#with(other, 0x25);
  }
  atMost(other: V128 | number): V128 {
    return this.#with(other, 0x2a);
  }
  any(): I32 {
    return new I32([this.code, 0xfd, 0x53]);
  }
  /** The highest bit of each byte. */
  bits(): I32 {
    return new I32([this.code, 0xfd, 0x64]);
  }
  #with(other: V128 | number, opcode: number): V128 {
    return new V128([this.code, (typeof other === "number" ? all(other) : other).code, 0xfd, opcode]);
  }
}

export function i32(value: number): I32 {
  return new I32([0x41, signed(value)]);
}

/** 64 bits from a number of 32, its sign extended. */
export function i64(value: number): I64 {
  return new I64([0x42, signed(value)]);
}

/** The same byte sixteen times. */
function all(byte: number): V128 {
  return new V128([0xfd, 0x0c, new Array<number>(16).fill(byte & 0xff)]);
}

export type Variable<T> = T & { set(value: T): void };

const TYPES = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;
const EMPTY = 0x40;

/** The body of a function: each call appends a statement. */
export class Code {
  readonly bytes: Bytes[] = [];
  readonly locals: number[] = [];
  readonly #parameters: number;
  #globals = 0;

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  get globals(): number {
    return this.#globals;
  }

  parameter(index: number): I32 {
    return new I32([0x20, unsigned(index)]);
  }

  i32(value: I32): Variable<I32> {
    return this.#local("i32", value, (code) => new I32(code));
  }

  i64(value: I64): Variable<I64> {
    return this.#local("i64", value, (code) => new I64(code));
  }

  v128(value: V128): Variable<V128> {
    return this.#local("v128", value, (code) => new V128(code));
  }

  /** 64 bits that outlive the call, zero at first. */
  global(): Variable<I64> {
    const index = unsigned(this.#globals++);
    const set = (value: I64): void => this.#push(value.code, [0x24, index]);
    return Object.assign(new I64([0x23, index]), { set });
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#push(condition.code, [0x04, EMPTY]);
    then();
    if (otherwise !== undefined) {
      this.#push([0x05]);
      otherwise();
    }
    this.#push([0x0b]);
  }

  while(condition: I32, body: () => void): void {
    this.#push([0x02, EMPTY, 0x03, EMPTY], condition.isZero().code, [0x0d, 1]);
    body();
    this.#push([0x0c, 0, 0x0b, 0x0b]);
  }

  return(value: I32): void {
    this.#push(value.code, [0x0f]);
  }

  storeByte(address: I32, value: I32): void {
    this.#push(address.code, value.code, [0x3a, 0, 0]);
  }

  /** Writes one byte sixteen times from `address` + `offset` on. */
  fill(address: I32, offset: number, byte: number): void {
    this.#push(address.code, all(byte).code, [0xfd, 0x0b, 0, unsigned(offset)]);
  }

  #local<T extends { code: Bytes }>(
    type: keyof typeof TYPES,
    value: T,
    wrap: (code: Bytes) => T,
  ): Variable<T> {
    const index = unsigned(this.#parameters + this.locals.length);
    this.locals.push(TYPES[type]);
    const set = (next: T): void => this.#push(next.code, [0x21, index]);
    set(value);
    return Object.assign(wrap([0x20, index]), { set });
  }

  #push(...parts: Bytes[]): void {
    this.bytes.push(...parts);
  }
}

/**
 * A module of one function, exported as `run`, which takes so many 32-bit parameters and gives a 32-bit result, and of
 * one memory of a fixed number of pages (64 KiB each), exported as `memory`.
 */
export function assemble(
  parameters: number,
  pages: number,
  write: (code: Code) => void,
): Uint8Array<ArrayBuffer> {
  const code = new Code(parameters);
  write(code);
  const locals = list(code.locals.map((type) => [1, type]));
  const unreachable = 0x00; // every path has returned before the end
  return Uint8Array.from(
    flat([
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [[0x60, list(new Array<Bytes>(parameters).fill([TYPES.i32])), 1, TYPES.i32]]),
      section(3, [[0]]),
      section(5, [[1, pages, pages]]),
      section(6, new Array<Bytes>(code.globals).fill([TYPES.i64, 1, 0x42, 0, 0x0b])),
      section(7, [
        [name("run"), 0, 0],
        [name("memory"), 2, 0],
      ]),
      section(10, [sized([locals, code.bytes, unreachable, 0x0b])]),
    ]),
  );
}

function section(id: number, entries: readonly Bytes[]): Bytes {
  return [id, sized(list(entries))];
}

function sized(tree: Bytes): Bytes {
  const content = flat(tree);
  return [unsigned(content.length), content];
}

function flat(tree: Bytes, into: number[] = []): number[] {
  for (const part of tree) {
    if (typeof part === "number") into.push(part);
    else flat(part, into);
  }
  return into;
}

function list(entries: readonly Bytes[]): Bytes {
  return [unsigned(entries.length), entries];
}

function name(text: string): Bytes {
  return [text.length, [...text].map((character) => character.charCodeAt(0))];
}

/** LEB128, as are all integers of the format. */
function unsigned(value: number): Bytes {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, unsigned(value >>> 7)];
}

function signed(value: number): Bytes {
  const low = value & 0x7f;
  const high = value >> 7;
  return high === (low & 0x40 ? -1 : 0) ? [low] : [low | 0x80, signed(high)];
}

/** Archives whose bytes depend on their contents and `date` (s since 1970) only. */
import { deflateRawSync } from "node:zlib";

export interface Entry {
  /** With `/`, without `..`; ASCII, at most 100 bytes. */
  readonly path: string;
  readonly content: string | Uint8Array;
  readonly executable?: boolean;
}

const mode = ({ executable }: Entry): number => (executable ? 0o755 : 0o644);

/** A gzip-compressed tar archive of files (ustar). */
export function tarGz(entries: readonly Entry[], date: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    const content = Buffer.from(entry.content);
    parts.push(tarHeader(entry, content.length, date), content);
    parts.push(new Uint8Array((512 - (content.length % 512)) % 512));
  }
  parts.push(new Uint8Array(1024));
  return Bun.gzipSync(Buffer.concat(parts), { library: "libdeflate", level: 6 });
}

function tarHeader(entry: Entry, size: number, date: number): Buffer {
  if (Buffer.byteLength(entry.path) > 100) throw new Error(`path too long for tar: ${entry.path}`);
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at);
  header.write(entry.path, 0);
  octal(mode(entry), 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(date, 136, 12);
  header.write("0", 156);
  header.write("ustar\u000000root", 257);
  header.write("root", 297);
  // The sum of all bytes, with the field of the sum full of spaces.
  header.write("        ", 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

const UNIX = 3;
const VERSION_2_0 = 20;
const DEFLATE = 8;
const REGULAR_FILE = 0o100000;

/** A ZIP archive of files, below 4 GiB. */
export function zip(entries: readonly Entry[], date: number): Uint8Array {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const content = Buffer.from(entry.content);
    const compressed = deflateRawSync(content, { level: 6 });
    const path = Buffer.from(entry.path);
    // The part that the header before a file and the one in the directory have in common.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(VERSION_2_0, 0);
    shared.writeUInt16LE(DEFLATE, 4);
    shared.writeUInt32LE(dosTime(date), 6);
    shared.writeUInt32LE(Bun.hash.crc32(content), 10);
    shared.writeUInt32LE(compressed.length, 14);
    shared.writeUInt32LE(content.length, 18);
    shared.writeUInt16LE(path.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), shared, path, compressed]);
    const central = Buffer.alloc(46);
    central.write("PK\x01\x02", 0, "latin1");
    central.writeUInt16LE((UNIX << 8) | VERSION_2_0, 4);
    shared.copy(central, 6);
    central.writeUInt32LE(((REGULAR_FILE | mode(entry)) << 16) >>> 0, 38);
    central.writeUInt32LE(offset, 42);
    directory.push(central, path);
    parts.push(local);
    offset += local.length;
  }
  const index = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(index.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, index, end]);
}

/** Date and time as MS-DOS stored them: UTC, in steps of 2 s. */
function dosTime(date: number): number {
  const at = new Date(date * 1000);
  const day = ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate();
  const time = (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1);
  return ((day << 16) | time) >>> 0;
}

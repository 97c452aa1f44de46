import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Creates a file of zeros that processes share as memory, and maps it. A process that has mapped an older file of this name keeps that one.
 * @param size bytes
 * @throws Error if there is no room for it
 */
export function createSharedFile(path: string, size: number): Uint8Array {
  const { bavail, bsize } = statfsSync(dirname(path));
  // A process that writes to memory of another file while none is free is killed: as much has to stay free.
  if (bavail * bsize < 2 * size)
    throw new Error(`${dirname(path)} has ${bavail * bsize} bytes free, ${2 * size} are needed`);
  rmSync(path, { force: true });
  // All of it is written: memory that is missing is an error here, and would end the process later.
  const zeros = Buffer.alloc(size);
  const file = openSync(path, "w", 0o600);
  try {
    for (let at = 0; at < size; ) at += writeSync(file, zeros, at);
  } catch (error) {
    rmSync(path);
    throw error;
  } finally {
    closeSync(file);
  }
  return openSharedFile(path);
}

/** @throws Error if it is not there */
export function openSharedFile(path: string): Uint8Array {
  return Bun.mmap(path, { shared: true });
}

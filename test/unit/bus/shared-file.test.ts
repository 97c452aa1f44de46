import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSharedFile, openSharedFile } from "../../../src/bus/relay/shared-file.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "channel-shared-"));
  folders.push(folder);
  return folder;
}

test("what one side writes the other one reads, and a new file leaves the old one as it is", () => {
  const path = join(createFolder(), "file");
  const [written, read] = [createSharedFile(path, 5000), openSharedFile(path)];
  expect([read.length, read.some((byte) => byte !== 0)]).toEqual([5000, false]);
  written[4999] = 7;
  expect(read[4999]).toBe(7);
  createSharedFile(path, 10);
  expect([read[4999], openSharedFile(path).length]).toEqual([7, 10]);
});

test("where it would leave too little memory to others there is an error, and no file", () => {
  const folder = createFolder();
  const { bavail, bsize } = statfsSync(folder);
  const path = join(folder, "file");
  expect(() => createSharedFile(path, bavail * bsize)).toThrow(/has \d+ bytes free, \d+ are needed$/);
  expect(existsSync(path)).toBe(false);
});

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** In memory, where the system has it. */
const SHARED_MEMORY = "/dev/shm";

/** Creates the folder for what the workers of one machine share; only this user can read it. @throws Error if there is no place for it */
export function createMachineFolder(): string {
  for (const place of [SHARED_MEMORY, tmpdir()]) {
    try {
      if (statSync(place).isDirectory()) return mkdtempSync(join(place, "channel-"));
    } catch {
      // Not there, or read only.
    }
  }
  throw new Error(
    `no folder for what workers share: neither ${SHARED_MEMORY} nor ${tmpdir()} can be written`,
  );
}

export function removeMachineFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

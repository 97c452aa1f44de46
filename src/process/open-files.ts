import { readdirSync, readFileSync } from "node:fs";

/** Soft limit of open files of this process; infinite if unknown (not Linux). */
export function openFileLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** The highest open descriptor; 0 if unknown (not Linux). */
export function highestDescriptor(): number {
  try {
    return readdirSync("/proc/self/fd").reduce((highest, name) => Math.max(highest, Number(name)), 0);
  } catch {
    return 0;
  }
}

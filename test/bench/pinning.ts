import { availableParallelism } from "node:os";

/** The processor that a server has for itself, and those for everything else; `null` where there is one only, or no `taskset`. */
export function processors(): { readonly server: string; readonly others: string } | null {
  const last = availableParallelism() - 1;
  if (last < 1 || Bun.which("taskset") === null) return null;
  return { server: "0", others: last === 1 ? "1" : `1-${last}` };
}

/** Binds all threads of a process, and those that they start, to these processors. */
export function pin(pid: number, cpus: string): void {
  Bun.spawnSync(["taskset", "-acp", cpus, String(pid)], { stdout: "ignore" });
}

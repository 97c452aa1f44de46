import { readdirSync, readFileSync } from "node:fs";
import { openLibc } from "./libc.ts";

/** Delay after SIGCHLD, ms: the runtime reaps its own children first. */
const DELAY = 1000;

const WNOHANG = 1;

/**
 * Reaps orphaned processes, as process 1 of a container must: for example children of a health check that was killed. Otherwise
 * zombies fill the process table.
 */
export function reapOrphans(): void {
  let due = false;
  process.on("SIGCHLD", () => {
    if (due) return;
    due = true;
    setTimeout(async () => {
      due = false;
      const zombies = endedChildren();
      if (zombies.length === 0) return;
      const libc = await openLibc();
      for (const pid of zombies) libc?.waitpid(pid, null, WNOHANG);
    }, DELAY);
  });
}

/** PIDs of zombie children of this process. */
function endedChildren(): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    const [state, parent] = statusOf(pid);
    return state === "Z" && parent === process.pid;
  });
}

function statusOf(pid: number): [state: string, parent: number] {
  try {
    // `4 (sh) Z 1 ...`; the name can contain any character.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return [state, Number(parent)];
  } catch {
    return ["", 0];
  }
}

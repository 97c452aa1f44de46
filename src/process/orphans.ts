import { readdirSync, readFileSync } from "node:fs";
import { openLibc } from "./libc.ts";

/** How long after a child's end it is looked for, in ms: the runtime has taken its own children by then. */
const DELAY = 1000;

const WNOHANG = 1;

/**
 * Takes what process 1 of a container inherits and must wait for: processes whose parent has ended, such as the children of a health
 * check that was cut off. Without that their entries stay until the table of processes is full.
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

/** Children of this process that have ended and that nobody has waited for. */
function endedChildren(): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    const [state, parent] = statusOf(pid);
    return state === "Z" && parent === process.pid;
  });
}

function statusOf(pid: number): [state: string, parent: number] {
  try {
    // `4 (sh) Z 1 ...`, where the name may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return [state, Number(parent)];
  } catch {
    return ["", 0];
  }
}

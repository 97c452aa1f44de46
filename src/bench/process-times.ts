import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Unit of process times on Linux: 10 ms (USER_HZ is 100 on every architecture that Bun supports). */
const TICK_MS = 10;

/** User and system time of a process, all threads, in ms. Source: `/proc/<pid>/stat`. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The second field is the name in parentheses and may hold spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** A process and those that it started: the workers of a supervisor. */
export function withChildren(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  const children = threads.flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean).map(Number),
  );
  return [pid, ...children];
}

/**
 * Memory of a process in bytes: PSS (proportional set size) from `/proc/<pid>/smaps_rollup`. Socket buffers of the kernel are not
 * included.
 */
export function pssBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  const result = /^Pss:\s+(\d+) kB$/m.exec(rollup);
  if (result === null) throw new Error(`no Pss in /proc/${pid}/smaps_rollup`);
  return Number(result[1]) * 1024;
}

const LISTENING = "0A";

/** PID of the process that listens on a TCP port of this machine. Throws if there is none or it is not readable. */
export function pidListeningOn(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const sockets = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readFileSync(table, "latin1").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(`:${hex}`) && fields[3] === LISTENING) sockets.add(`socket:[${fields[9]}]`);
    }
  }
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      for (const descriptor of readdirSync(`/proc/${entry}/fd`)) {
        if (sockets.has(readlinkSync(`/proc/${entry}/fd/${descriptor}`))) return Number(entry);
      }
    } catch {
      // ended meanwhile, or owned by another user
    }
  }
  throw new Error(`no readable process listens on port ${port}`);
}

/**
 * Like `cpuMs` with nanosecond resolution, from the `schedstat` of each thread: for work of less than a second. Time of ended
 * threads is not included.
 */
export function fineCpuMs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1");
      nanoseconds += Number(stat.slice(0, stat.indexOf(" ")));
    } catch {
      // ended meanwhile
    }
  }
  return nanoseconds / 1e6;
}

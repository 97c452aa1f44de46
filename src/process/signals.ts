import { readFileSync } from "node:fs";
import { isatty } from "node:tty";
import type { Log } from "../log.ts";

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export interface Signals {
  /** Resolves at the first signal that stops the server. */
  readonly first: Promise<string>;
  /** Called at a SIGHUP that does not stop the server. */
  hangUp: (() => void) | null;
  /** Ignores SIGHUP from now on. */
  ignoreHangUp(): void;
}

/**
 * SIGINT and SIGTERM stop the server; a second one exits at once. SIGHUP stops a server that has a terminal, which was closed; a
 * second SIGHUP does not exit: a closed terminal causes two, from the shell and the kernel. Without a terminal it calls `hangUp`.
 * SIGUSR1 and SIGUSR2 are ignored.
 */
export function catchSignals(log: Log): Signals {
  const { promise, resolve } = Promise.withResolvers<string>();
  let stopping = false;
  let ignored = hangUpIsIgnored();
  const stop = (signal: string): void => {
    stopping = true;
    resolve(signal);
  };
  const signals: Signals = {
    first: promise,
    hangUp: null,
    ignoreHangUp() {
      ignored = true;
    },
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(EXIT_CODES[signal]);
      stop(signal);
    });
  }
  if (!ignored) {
    const terminal = hasTerminal();
    process.on("SIGHUP", (signal) => {
      if (ignored) return;
      if (terminal) stop(signal);
      else if (signals.hangUp !== null) signals.hangUp();
      else log.info("signal ignored", { signal });
    });
  }
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
    process.on(signal, () => log.info("signal ignored", { signal }));
  }
  return signals;
}

/** Whether SIGHUP is ignored, as `nohup` sets it. */
export function hangUpIsIgnored(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false;
  }
}

/** Whether this process belongs to a terminal, whose end it gets as SIGHUP. */
function hasTerminal(): boolean {
  try {
    // `4 (sh) S 1 4 4 34816 ...`: after the name state, parent, group, session, terminal. The name can contain any character.
    const stat = readFileSync("/proc/self/stat", "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[4] !== "0";
  } catch {
    // Windows sends SIGHUP only for a console that was closed.
    return process.platform === "win32" || [0, 1, 2].some((fd) => isatty(fd));
  }
}

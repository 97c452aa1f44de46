import { readFileSync, realpathSync } from "node:fs";
import { resolve } from "node:path";

/** How this process was started, to start it again with the executable that is then at its path. */
export interface OwnCommand {
  readonly path: string;
  /** The name under which it was called. */
  readonly name: string;
  readonly args: readonly string[];
  readonly cwd: string;
}

/** To be called at start, while the path still leads to this executable. `null` where the command line is unknown. */
export function ownCommand(env: Readonly<Record<string, string | undefined>>): OwnCommand | null {
  if (process.platform !== "linux") return null;
  try {
    const [name = "", ...args] = readFileSync("/proc/self/cmdline", "utf8").replace(/\0$/, "").split("\0");
    const cwd = process.cwd();
    return { path: pathOf(name, cwd, env.PATH) ?? process.execPath, name, args, cwd };
  } catch {
    return null;
  }
}

/** The path by which it was called, symbolic links included; `null` if it leads elsewhere. */
function pathOf(name: string, cwd: string, path: string | undefined): string | null {
  const called = name.includes("/") ? resolve(cwd, name) : Bun.which(name, { PATH: path ?? "" });
  try {
    return called !== null && realpathSync(called) === realpathSync(process.execPath) ? called : null;
  } catch {
    return null;
  }
}

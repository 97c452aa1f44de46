import { dlopen } from "bun:ffi";

/** glibc, and musl by the names that Alpine gives it. */
const NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** What the runtime does not do for us, on Linux. */
const SYMBOLS = {
  /** `pid_t waitpid(pid_t pid, int *status, int options)` */
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
} as const;

export type Libc = ReturnType<typeof open>["symbols"];

/** The C library that this process runs on; `null` where there is none that we know. To be imported only where it is needed. */
export function openLibc(): Libc | null {
  if (process.platform !== "linux") return null;
  for (const name of NAMES) {
    try {
      return open(name).symbols;
    } catch {
      // The other name, then.
    }
  }
  return null;
}

function open(name: string) {
  return dlopen(name, SYMBOLS);
}

import type { Library } from "bun:ffi";

/** glibc, and musl by the names that Alpine gives it. */
const NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** What the runtime does not do for us, on Linux. */
const SYMBOLS = {
  /** `int getsockopt(int socket, int level, int name, void *value, socklen_t *size)` */
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  /** `int getsockname(int socket, struct sockaddr *address, socklen_t *size)` */
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  /** `int shutdown(int socket, int how)` */
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  /** `pid_t waitpid(pid_t pid, int *status, int options)` */
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
} as const;

export type Libc = Library<typeof SYMBOLS>["symbols"];

/** The C library that this process runs on; `null` where there is none that we know. It takes 4 MB: call it where it is needed. */
export async function openLibc(): Promise<Libc | null> {
  if (process.platform !== "linux") return null;
  const { dlopen } = await import("bun:ffi");
  for (const name of NAMES) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch {
      // The other name, then.
    }
  }
  return null;
}

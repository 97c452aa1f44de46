import type { Library } from "bun:ffi";

/** glibc, and musl as Alpine names it. */
const NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** System calls that the runtime does not provide. */
const SYMBOLS = {
  /** `int getsockopt(int socket, int level, int name, void *value, socklen_t *size)` */
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  /** `int getpeername(int socket, struct sockaddr *address, socklen_t *size)` */
  getpeername: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  /** `int getsockname(int socket, struct sockaddr *address, socklen_t *size)` */
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  /** `int setsockopt(int socket, int level, int name, const void *value, socklen_t size)` */
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  /** `int shutdown(int socket, int how)` */
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  /** `pid_t waitpid(pid_t pid, int *status, int options)` */
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
} as const;

export type Libc = Library<typeof SYMBOLS>["symbols"];

/** Opens the C library of this process; `null` if it is unknown. It uses 4 MB: open it only when needed. */
export async function openLibc(): Promise<Libc | null> {
  if (process.platform !== "linux") return null;
  const { dlopen } = await import("bun:ffi");
  for (const name of NAMES) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch {
      // Try the next name.
    }
  }
  return null;
}

/** The local port of a socket; 0 if the descriptor is no socket of IPv4 or IPv6. */
export function localPort(libc: Libc, fd: number): number {
  const address = Buffer.alloc(128);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(address.length);
  // The port follows the family in both IPv4 and IPv6, in network byte order.
  return libc.getsockname(fd, address, size) === 0 && isInternet(address) ? address.readUInt16BE(2) : 0;
}

const AF_INET = 2;
const AF_INET6 = 10;

function isInternet(address: Buffer): boolean {
  const family = address.readUInt16LE(0);
  return family === AF_INET || family === AF_INET6;
}

import { readdirSync } from "node:fs";
import { type Libc, localPort } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;

/** The descriptors of this process that listen on a port. Linux only: reads /proc. */
export function listeningSockets(libc: Libc, port: number): number[] {
  const value = Buffer.alloc(4);
  const size = Buffer.alloc(4);
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => {
      size.writeUInt32LE(value.length);
      if (libc.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, value, size) !== 0) return false;
      return value.readInt32LE() === 1 && localPort(libc, fd) === port;
    });
}

import { readdirSync } from "node:fs";
import { openLibc } from "./libc.ts";

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_NOTSENT_LOWAT = 25;

/** The first byte of `struct tcp_info` of a socket that listens (`TCP_LISTEN`). */
const LISTENING = 10;

/** Bytes that the kernel keeps for one connection besides those on their way. */
const MAX_UNSENT = 64 * 1024;

/**
 * Limits what the kernel keeps for each connection that is accepted at `port` from now on. By default it takes up to 4 MB before
 * this process can notice that a client does not read: a minute of data on a slow line. Does nothing where the system cannot.
 */
export async function limitUnsentData(port: number): Promise<void> {
  const libc = await openLibc();
  if (libc === null) return;
  const state = Buffer.alloc(1);
  const address = Buffer.alloc(128);
  const size = Buffer.alloc(4);
  const limit = Buffer.alloc(4);
  limit.writeUInt32LE(MAX_UNSENT);
  const listensAt = (fd: number): boolean => {
    size.writeUInt32LE(state.length);
    if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, state, size) !== 0 || state[0] !== LISTENING) return false;
    size.writeUInt32LE(address.length);
    // The port follows the family in both IPv4 and IPv6, in network byte order.
    return libc.getsockname(fd, address, size) === 0 && address.readUInt16BE(2) === port;
  };
  for (const fd of readdirSync("/proc/self/fd").map(Number)) {
    // Connections inherit it from the socket that accepts them.
    if (listensAt(fd)) libc.setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, limit, limit.length);
  }
}

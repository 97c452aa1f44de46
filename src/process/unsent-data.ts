import { openLibc } from "./libc.ts";
import { listeningSockets } from "./listening-sockets.ts";

const IPPROTO_TCP = 6;
const TCP_NOTSENT_LOWAT = 25;

/** Bytes that the kernel keeps for one connection besides those on their way. */
const MAX_UNSENT = 64 * 1024;

/**
 * Limits what the kernel keeps for each connection that is accepted at `port` from now on. By default it takes up to 4 MB before
 * this process can notice that a client does not read: a minute of data on a slow line. Does nothing where the system cannot.
 */
export async function limitUnsentData(port: number): Promise<void> {
  const libc = await openLibc();
  if (libc === null) return;
  const limit = Buffer.alloc(4);
  limit.writeUInt32LE(MAX_UNSENT);
  for (const fd of listeningSockets(libc, port)) {
    // Connections inherit it from the socket that accepts them.
    libc.setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, limit, limit.length);
  }
}

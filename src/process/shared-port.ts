import { openLibc } from "./libc.ts";
import { listeningSockets } from "./listening-sockets.ts";

const SOL_SOCKET = 1;
const SO_REUSEPORT = 15;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const SO_DETACH_REUSEPORT_BPF = 68;

/** `BPF_RET | BPF_K`: returns a constant. */
const RETURN = 6;

/** Sockets that share a port are numbered in the order in which they began to listen. */
const SECOND = 1;

/**
 * The listening sockets of this process on one port, for the time in which a second process listens there too. Connections that
 * wait to be accepted are reset when their socket is closed: they have to go to the second process before the first one closes.
 */
export interface ReplaceablePort {
  /** Allows another process of this user to listen on the port. Returns false if the system does not. */
  share(): boolean;
  /** Sends all new connections to the successor; `false` if the kernel cannot (before Linux 4.5). */
  yield(): Promise<boolean>;
  /** The port belongs to this process alone again. */
  reclaim(): void;
}

export interface SharedPort extends ReplaceablePort {
  /** Ends `yield`; other processes of this user go on listening. */
  release(): void;
}

/**
 * `null` where sockets cannot share a port in this way: only Linux has it.
 * @param successor the number of the first socket of the successor
 */
export async function openSharedPort(port: number, successor = SECOND): Promise<SharedPort | null> {
  const libc = await openLibc();
  if (libc === null) return null;
  const { ptr } = await import("bun:ffi");
  const sockets = () => listeningSockets(libc, port);
  const allow = (allowed: boolean): boolean => {
    const value = Buffer.alloc(4);
    value.writeInt32LE(allowed ? 1 : 0);
    const set = sockets().map((fd) => libc.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, value, value.length));
    return set.length > 0 && set.every((result) => result === 0);
  };
  const release = (): void => {
    for (const fd of sockets()) libc.setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, null, 0);
  };
  return {
    share: () => allow(true),
    async yield() {
      // struct sock_filter { u16 code; u8 jt, jf; u32 k }
      const filter = Buffer.alloc(8);
      filter.writeUInt16LE(RETURN, 0);
      filter.writeUInt32LE(successor, 4);
      // struct sock_fprog { u16 len; struct sock_filter *filter }
      const program = Buffer.alloc(16);
      program.writeUInt16LE(1, 0);
      program.writeBigUInt64LE(BigInt(ptr(filter)), 8);
      return sockets().every(
        (fd) => libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program, program.length) === 0,
      );
    },
    reclaim() {
      release();
      allow(false);
    },
    release,
  };
}

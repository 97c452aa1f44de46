import { openLibc } from "./libc.ts";
import { highestDescriptor } from "./open-files.ts";

const IPPROTO_TCP = 6;
const TCP_INFO = 11;

/** Offsets in `struct tcp_info`, which only grows at its end; the last field exists since Linux 4.6. */
const IN_FLIGHT = 24;
const ACKNOWLEDGEMENT_AGE = 56;
const BYTES_ACKNOWLEDGED = 120;
const BYTES_UNSENT = 144;
const INFO_SIZE = 148;

/** Families of addresses (Linux). */
const AF_INET = 2;
const AF_INET6 = 10;

/** The remote end of a connection. */
interface Remote {
  readonly address: string;
  readonly port: number;
}

/** Looks at TCP connections of this process. */
export interface TcpProbe {
  /** Finds the descriptors of connections by remote end. One pass over all descriptors. */
  find<T>(wanted: ReadonlyMap<T, Remote>): ReadonlyMap<T, number>;
  /**
   * Reads how many bytes were acknowledged, how many segments were not, how many bytes the system could not send yet, and the
   * ms since the last acknowledgement. `false` if the descriptor is not of that connection any more.
   */
  read(
    descriptor: number,
    remote: Remote,
    sent: { acknowledged: number; inFlight: number; unsent: number; age: number },
  ): boolean;
}

/** `null` if the system cannot report what of a connection was acknowledged. */
export async function openTcpProbe(): Promise<TcpProbe | null> {
  const libc = await openLibc();
  if (libc === null) return null;
  const info = Buffer.alloc(INFO_SIZE);
  const address = Buffer.alloc(128);
  const size = Buffer.alloc(4);

  const hasRemote = (fd: number): boolean => {
    size.writeUInt32LE(address.length);
    return libc.getpeername(fd, address, size) === 0;
  };
  // The port follows the family in both IPv4 and IPv6, in network byte order.
  const port = (): number => address.readUInt16BE(2);

  return {
    find<T>(wanted: ReadonlyMap<T, Remote>) {
      const byPort = Map.groupBy(wanted, ([, remote]) => remote.port);
      const found = new Map<T, number>();
      const last = highestDescriptor();
      for (let fd = 3; fd <= last && found.size < wanted.size; fd++) {
        if (!hasRemote(fd)) continue;
        for (const [key, remote] of byPort.get(port()) ?? []) {
          if (addressIn(address) === canonical(remote.address)) found.set(key, fd);
        }
      }
      return found;
    },
    read(fd, remote, sent) {
      if (!hasRemote(fd) || port() !== remote.port) return false;
      size.writeUInt32LE(INFO_SIZE);
      if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, size) !== 0) return false;
      sent.inFlight = info.readUInt32LE(IN_FLIGHT);
      sent.unsent = info.readUInt32LE(BYTES_UNSENT);
      sent.age = info.readUInt32LE(ACKNOWLEDGEMENT_AGE);
      sent.acknowledged = Number(info.readBigUInt64LE(BYTES_ACKNOWLEDGED));
      return true;
    },
  };
}

/** The address in a `struct sockaddr`, in its canonical form. */
function addressIn(sockaddr: Buffer): string | null {
  const family = sockaddr.readUInt16LE(0);
  if (family === AF_INET) return canonical(sockaddr.subarray(4, 8).join("."));
  if (family !== AF_INET6) return null;
  const groups = Array.from({ length: 8 }, (_, i) => sockaddr.readUInt16BE(8 + 2 * i).toString(16));
  return canonical(groups.join(":"));
}

/** An address as IPv6 in its shortest form. */
function canonical(address: string): string | null {
  return URL.parse(`http://[${address.includes(":") ? address : `::ffff:${address}`}]`)?.hostname ?? null;
}

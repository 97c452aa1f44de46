import { openLibc } from "./libc.ts";

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const SHUT_RDWR = 2;

/** `TCP_ESTABLISHED`, the state of a connection that is neither opening nor closing. */
const ESTABLISHED = 1;

/** Where fields stand in `struct tcp_info`, which only ever grows at its end; the last one came with Linux 4.6. */
const STATE = 0;
const LAST_DATA_RECEIVED = 52;
const BYTES_RECEIVED = 128;
const DATA_SEGMENTS_SENT = 156;
const INFO_SIZE = 160;

/** A client that sends its request piece by piece gets so long for the next one, in ms. */
const PATIENCE = 1000;

/** Ends connections that no handler knows: those that have sent nothing, or no whole request. */
export interface Silent {
  /**
   * Shuts down up to `wanted` connections to this port that have sent nothing, and with `unanswered` also those that were never
   * answered and have not sent for a second. The runtime then closes them.
   * @param limit descriptors are looked at up to this one
   * @returns how many were shut down
   */
  close(port: number, limit: number, wanted: number, unanswered: boolean): number;
}

/** `null` where the system does not tell what a connection has sent. */
export async function openSilent(): Promise<Silent | null> {
  const libc = await openLibc();
  if (libc === null) return null;
  const info = Buffer.alloc(INFO_SIZE);
  const address = Buffer.alloc(128);
  const size = Buffer.alloc(4);

  const isSilent = (fd: number, unanswered: boolean): boolean => {
    size.writeUInt32LE(INFO_SIZE);
    if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, size) !== 0) return false;
    if (size.readUInt32LE() < INFO_SIZE || info[STATE] !== ESTABLISHED) return false;
    if (info.readBigUInt64LE(BYTES_RECEIVED) === 0n) return true;
    const answered = info.readUInt32LE(DATA_SEGMENTS_SENT) > 0;
    return unanswered && !answered && info.readUInt32LE(LAST_DATA_RECEIVED) > PATIENCE;
  };
  const portOf = (fd: number): number => {
    size.writeUInt32LE(address.length);
    // Of IPv4 and IPv6 alike it stands behind the family, in network order.
    return libc.getsockname(fd, address, size) === 0 ? address.readUInt16BE(2) : 0;
  };
  return {
    close(port, limit, wanted, unanswered) {
      let closed = 0;
      for (let fd = 3; fd < limit && closed < wanted; fd++) {
        if (isSilent(fd, unanswered) && portOf(fd) === port && libc.shutdown(fd, SHUT_RDWR) === 0) closed++;
      }
      return closed;
    },
  };
}

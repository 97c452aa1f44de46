import { localPort, openLibc } from "./libc.ts";

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const SHUT_RDWR = 2;

/** `TCP_ESTABLISHED`: neither opening nor closing. */
const ESTABLISHED = 1;

/** Offsets in `struct tcp_info`, which only grows at its end; the last field exists since Linux 4.6. */
const STATE = 0;
const LAST_DATA_RECEIVED = 52;
const BYTES_RECEIVED = 128;
const DATA_SEGMENTS_SENT = 156;
const INFO_SIZE = 160;

/** Time that a client may take between two parts of its request, ms. */
const REQUEST_PART_TIMEOUT = 1000;

/** Closes connections that have sent nothing or no complete request, which handlers do not see. */
export interface SilentConnections {
  /**
   * Shuts down up to `max` connections to `port` that have sent nothing; with `unanswered` also those without a response that have
   * not sent for a second. The runtime then closes them.
   * @param limit highest descriptor to check
   * @returns the number of connections shut down
   */
  close(port: number, limit: number, max: number, unanswered: boolean): number;
}

/** `null` if the system cannot report what a connection has sent. */
export async function openSilentConnections(): Promise<SilentConnections | null> {
  const libc = await openLibc();
  if (libc === null) return null;
  const info = Buffer.alloc(INFO_SIZE);
  const size = Buffer.alloc(4);

  const isSilent = (fd: number, unanswered: boolean): boolean => {
    size.writeUInt32LE(INFO_SIZE);
    if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, size) !== 0) return false;
    if (size.readUInt32LE() < INFO_SIZE || info[STATE] !== ESTABLISHED) return false;
    if (info.readBigUInt64LE(BYTES_RECEIVED) === 0n) return true;
    const answered = info.readUInt32LE(DATA_SEGMENTS_SENT) > 0;
    return unanswered && !answered && info.readUInt32LE(LAST_DATA_RECEIVED) > REQUEST_PART_TIMEOUT;
  };
  return {
    close(port, limit, max, unanswered) {
      let closed = 0;
      for (let fd = 3; fd < limit && closed < max; fd++) {
        if (isSilent(fd, unanswered) && localPort(libc, fd) === port && libc.shutdown(fd, SHUT_RDWR) === 0)
          closed++;
      }
      return closed;
    },
  };
}

import { connect, type Socket } from "node:net";

/** The attacker's address in the proxy's header: limits by address apply to it. */
const ADDRESS = "198.51.100.7";

const CLOSE_AND_CONTROL = 0x08;
const PING = 0x09;
const PONG = 0x0a;

/** One TCP connection of an attacker, for raw bytes. */
export interface Line {
  readonly socket: Socket;
  readonly over: boolean;
  /** Writes, and resolves when the kernel has accepted it, or the connection is closed. */
  write(bytes: string | Uint8Array): Promise<void>;
  cut(): void;
}

/** Connects by TCP. Received bytes go to `received`. Resolves to `null` if nothing listens. */
export function openLine(port: number, received: (bytes: Buffer) => void = () => {}): Promise<Line | null> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let over = false;
    let wake: (() => void) | null = null;
    const go = (): void => {
      wake?.();
      wake = null;
    };
    socket.on("data", received);
    socket.on("drain", go);
    // A server that refuses may reset what it did not read.
    socket.on("error", () => {});
    socket.on("close", () => {
      over = true;
      go();
      resolve(null);
    });
    socket.on("connect", () =>
      resolve({
        socket,
        get over() {
          return over;
        },
        write: (bytes) =>
          new Promise<void>((done) => {
            if (over) return done();
            if (socket.write(bytes)) setImmediate(done);
            else wake = done;
          }),
        cut: () => void socket.destroy(),
      }),
    );
  });
}

/** Upgrades a line; answers pings. Resolves to `null` where the upgrade is refused. */
export async function openSocket(
  port: number,
  path: string,
  received: () => void = () => {},
): Promise<Line | null> {
  const upgraded = Promise.withResolvers<boolean>();
  let isUp = false;
  const line = await openLine(port, (bytes) => {
    if (!isUp) {
      isUp = true;
      upgraded.resolve(bytes.toString("latin1", 0, 12).includes(" 101"));
    } else {
      // A ping of the server comes alone: an idle client is sent nothing else.
      if ((bytes[0] ?? 0) === (0x80 | PING)) void line?.write(frame(PONG, Buffer.alloc(0)));
      received();
    }
  });
  if (line === null) return null;
  line.socket.on("close", () => upgraded.resolve(false));
  await line.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: ${ADDRESS}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  if (await upgraded.promise) return line;
  line.cut();
  return null;
}

export function text(payload: string): Buffer {
  return frame(1, Buffer.from(payload));
}

/** A frame of a client, masked with zeros, which costs the attacker nothing. */
export function frame(opcode: number, payload: Buffer, last = true): Buffer {
  const { length } = payload;
  const first = (last ? 0x80 : 0) | opcode;
  if (length < 126) return Buffer.concat([Buffer.from([first, 0x80 | length, 0, 0, 0, 0]), payload]);
  if (length < 65_536 || opcode >= CLOSE_AND_CONTROL) {
    return Buffer.concat([Buffer.from([first, 0x80 | 126, length >> 8, length & 255, 0, 0, 0, 0]), payload]);
  }
  const head = Buffer.alloc(14);
  head[0] = first;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** The status of a request by HTTP; 0 where it was not answered. */
export async function request(
  port: number,
  path: string,
  init: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; text: string }> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      headers: { "x-forwarded-for": ADDRESS, ...init.headers },
    });
    return { status: answer.status, text: await answer.text() };
  } catch {
    return { status: 0, text: "" };
  }
}

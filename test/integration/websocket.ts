import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { Inbox, short } from "./inbox.ts";

/** A WebSocket client for tests that need control of every byte: RFC 6455, no extensions. */
export interface RawSocket {
  readonly status: 101;
  /** Headers of the answer to the upgrade, names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly messages: Inbox<RawMessage>;
  readonly pings: Inbox<Buffer>;
  readonly pongs: Inbox<Buffer>;
  /** The close code of the server; 1006 without a close frame. */
  readonly closed: Promise<Closed>;
  readonly isClosed: boolean;
  /** Writes frames (of `frame`) in one write. */
  write(...frames: readonly Uint8Array[]): void;
  sendText(text: string | Uint8Array): void;
  sendBinary(data: Uint8Array): void;
  ping(data?: string): void;
  /** Whether to answer the server's pings. */
  answerPings(yes: boolean): void;
  /** Stops and resumes reading, as a client on a stalled connection. */
  pause(): void;
  resume(): void;
  /** Closes with a closing handshake. */
  close(code?: number): Promise<Closed>;
  /** Cuts the connection without a close frame. */
  cut(): void;
}

/** The upgrade was rejected. */
export interface Refusal {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface RawMessage {
  readonly binary: boolean;
  readonly data: Buffer;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export const TEXT = 1;
export const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** One frame as a client sends it: final and masked. */
export function frame(opcode: number, payload: string | Uint8Array): Buffer {
  const data = Buffer.from(payload);
  const { length } = data;
  const head =
    length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | length])
      : length < 65536
        ? Buffer.from([0x80 | opcode, 0x80 | 126, length >> 8, length & 255])
        : Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | 127]), uint64(length)]);
  const mask = randomBytes(4);
  for (let i = 0; i < length; i++) data[i] = (data[i] ?? 0) ^ (mask[i & 3] ?? 0);
  return Buffer.concat([head, mask, data]);
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/**
 * Requests an upgrade. `url` begins with `http://`; `headers` override those of an upgrade, and one set to `""`
 * is left out. Each message is passed to `received` too, in order. Rejects only without any HTTP response.
 */
export function openWebSocket(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  received: (message: RawMessage) => void = () => {},
): Promise<RawSocket | Refusal> {
  const address = new URL(url);
  const key = randomBytes(16).toString("base64");
  const sent: Record<string, string> = {
    host: address.host,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": key,
  };
  for (const [name, value] of Object.entries(headers)) sent[name.toLowerCase()] = value;
  const lines = Object.entries(sent).filter(([, value]) => value !== "");
  const head = [
    `GET ${address.pathname}${address.search} HTTP/1.1`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
    "",
    "",
  ].join("\r\n");

  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address.hostname.replace(/^\[|\]$/g, ""),
      port: Number(address.port),
      noDelay: true,
    });
    const closed = Promise.withResolvers<Closed>();
    const state = { isClosed: false, answerPings: true, closeSent: false };
    const messages = new Inbox<RawMessage>("socket", ({ binary, data }) =>
      short(binary ? `<binary ${data.toString("hex")}>` : data.toString()),
    );
    const pings = new Inbox<Buffer>("pings", (data) => data.toString("hex"));
    const pongs = new Inbox<Buffer>("pongs", (data) => data.toString("hex"));
    let ending: Closed = { code: 1006, reason: "" };
    let rest: Buffer = Buffer.alloc(0);
    let refusal: { status: number; headers: Map<string, string>; length: number | null } | null = null;
    let upgraded = false;

    const write = (...frames: readonly Uint8Array[]): void => {
      if (!socket.destroyed) socket.write(Buffer.concat(frames));
    };
    const handle = (opcode: number, data: Buffer): void => {
      if (opcode === TEXT || opcode === BINARY) {
        const message = { binary: opcode === BINARY, data };
        messages.put(message);
        received(message);
      }
      if (opcode === PONG) pongs.put(data);
      else if (opcode === PING) {
        pings.put(data);
        if (state.answerPings) write(frame(PONG, data));
      } else if (opcode === CLOSE) {
        ending = {
          code: data.length >= 2 ? data.readUInt16BE(0) : 1005,
          reason: data.subarray(2).toString(),
        };
        if (!state.closeSent) write(frame(CLOSE, data.subarray(0, 2)));
        socket.end();
      }
    };
    const read = (chunk: Buffer): void => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      if (!upgraded) {
        if (refusal === null) {
          const end = rest.indexOf("\r\n\r\n");
          if (end < 0) return;
          const answer = parseHead(rest.subarray(0, end).toString("latin1"));
          rest = rest.subarray(end + 4);
          if (answer.status === 101) {
            if (answer.headers.get("sec-websocket-accept") !== acceptOf(key)) {
              socket.destroy();
              reject(new Error("the answer to the upgrade has a wrong sec-websocket-accept"));
              return;
            }
            upgraded = true;
            resolve(raw(answer.headers));
          } else {
            const length = answer.headers.get("content-length");
            refusal = { ...answer, length: length === undefined ? null : Number(length) };
          }
        }
        if (refusal !== null && refusal.length !== null && rest.length >= refusal.length) refused();
        if (!upgraded) return;
      }
      for (;;) {
        const one = parseFrame(rest);
        if (one === null) return;
        rest = rest.subarray(one.size);
        handle(one.opcode, one.data);
      }
    };
    const refused = (): void => {
      if (refusal === null) return;
      resolve({ status: refusal.status, headers: refusal.headers, body: rest.toString() });
      socket.destroy();
    };
    const raw = (answered: Map<string, string>): RawSocket => ({
      status: 101,
      headers: answered,
      messages,
      pings,
      pongs,
      closed: closed.promise,
      get isClosed() {
        return state.isClosed;
      },
      write,
      sendText: (text) => write(frame(TEXT, text)),
      sendBinary: (data) => write(frame(BINARY, data)),
      ping: (data = "") => write(frame(PING, data)),
      answerPings: (yes) => {
        state.answerPings = yes;
      },
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
      close: (code = 1000) => {
        if (!state.isClosed && !state.closeSent) {
          state.closeSent = true;
          write(frame(CLOSE, Buffer.from([code >> 8, code & 255])));
        }
        return closed.promise;
      },
      cut: () => cut(socket),
    });

    socket.on("connect", () => socket.write(head));
    socket.on("data", read);
    socket.on("error", (error) => reject(error));
    socket.on("close", () => {
      state.isClosed = true;
      if (!upgraded && refusal !== null) refused();
      reject(new Error(`${address.host} closed the connection without an answer`));
      for (const inbox of [messages, pings, pongs]) inbox.end(`closed with ${ending.code}`);
      closed.resolve(ending);
    });
  });
}

function cut(socket: Socket): void {
  if (typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
  else socket.destroy();
}

function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

function parseHead(text: string): { status: number; headers: Map<string, string> } {
  const [first = "", ...lines] = text.split("\r\n");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(first.split(" ")[1]), headers };
}

/** The first frame of what a server sent; `null` while it is incomplete. Servers neither mask nor, here, fragment. */
function parseFrame(bytes: Buffer): { opcode: number; data: Buffer; size: number } | null {
  if (bytes.length < 2) return null;
  const first = bytes[0] ?? 0;
  const short = (bytes[1] ?? 0) & 127;
  if ((first & 0xf0) !== 0x80 || (bytes[1] ?? 0) > 127) {
    throw new Error(
      `the server sent a fragmented, compressed or masked frame: ${bytes.toString("hex", 0, 8)}`,
    );
  }
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < head) return null;
  const length =
    short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < head + length) return null;
  return { opcode: first & 15, data: Buffer.from(bytes.subarray(head, head + length)), size: head + length };
}

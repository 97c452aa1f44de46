import { SocketWriter } from "./socket-writer.ts";

/**
 * Called for each complete message. `bytes[start..end)` is the message, or only its last part if it is longer than `ASSEMBLED` and
 * arrived in several reads. The bytes are valid until it returns.
 */
export type OnMessage = (client: Client, bytes: Buffer, start: number, end: number) => void;

/** Messages up to this length in bytes are always passed complete. */
const ASSEMBLED = 4096;

/** Offset of `Client.mark` in a message. */
const MARK_AT = 5;

const CLOSE = 8;
const PING = 9;
const PONG = 10;

/**
 * A minimal WebSocket client for load: it parses frame headers only and sends frames that are masked in advance. It trusts the
 * server: no fragments, no extensions, no check of `Sec-WebSocket-Accept`.
 */
export class Client {
  /** Number of this client, from 0. */
  readonly index: number;
  onMessage: OnMessage = ignore;
  /** Messages since `reset`. */
  received = 0;
  /** The byte of the message at `MARK_AT`; `0` if it is shorter. It identifies replies in Phoenix V2. */
  mark = 0;
  closed = false;
  #writer: SocketWriter<undefined> | null = null;
  #handshake: Buffer | null = Buffer.alloc(0);
  /** Missing bytes of the current message; -1 between messages. */
  #left = -1;
  #length = 0;
  #opcode = 0;
  /** An incomplete header or short message, continued by the next read. */
  #rest: Buffer | null = null;

  constructor(index: number) {
    this.index = index;
  }

  /** Sends a frame made by `textFrame`. */
  send(frame: Buffer): void {
    this.#writer?.write(frame);
  }

  /** Closes the connection without a close frame. */
  end(): void {
    this.#writer?.end();
  }

  /** Resets the connection, as a network does that is lost. */
  reset(): void {
    this.#writer?.reset();
  }

  static connect(index: number, url: URL, onMessage: OnMessage = ignore): Promise<Client> {
    return Client.#open(index, url, upgradeRequest(`${url.pathname}${url.search}`, url.host), onMessage);
  }

  /**
   * Connects without a handshake: the caller sends the upgrade request, and the response is passed to `onMessage` like a message. For
   * servers whose address names the channel.
   */
  static open(index: number, url: URL): Promise<Client> {
    return Client.#open(index, url, null, ignore);
  }

  static #open(index: number, url: URL, request: Buffer | null, onMessage: OnMessage): Promise<Client> {
    const client = new Client(index);
    client.onMessage = onMessage;
    const { promise, resolve, reject } = Promise.withResolvers<Client>();
    void Bun.connect({
      hostname: url.hostname,
      port: Number(url.port),
      socket: {
        open(socket) {
          socket.setNoDelay(true);
          client.#writer = new SocketWriter(socket);
          if (request === null) resolve(client);
          else client.#writer.write(request);
        },
        data(_socket, bytes) {
          if (client.#handshake === null) client.#walk(bytes);
          else client.#readHandshake(bytes, request === null, resolve, reject);
        },
        drain() {
          client.#writer?.drain();
        },
        close() {
          client.closed = true;
          reject(new Error(`connection ${index} was closed during the handshake`));
        },
        error(_socket, error) {
          reject(error);
        },
        connectError(_socket, error) {
          reject(error);
        },
      },
    }).catch(reject);
    return promise;
  }

  #readHandshake(
    bytes: Buffer,
    asMessage: boolean,
    resolve: (client: Client) => void,
    reject: (error: Error) => void,
  ): void {
    const head = Buffer.concat([this.#handshake ?? bytes.subarray(0, 0), bytes]);
    const end = head.indexOf("\r\n\r\n");
    if (end === -1) {
      this.#handshake = head;
      return;
    }
    if (asMessage) {
      this.#handshake = null;
      this.received++;
      this.onMessage(this, head, 0, end);
      if (head.length > end + 4) this.#walk(head.subarray(end + 4));
      return;
    }
    if (!isUpgraded(head, 0)) {
      reject(new Error(`rejected: ${head.toString("latin1", 0, Math.min(head.length, 300))}`));
      return;
    }
    this.#handshake = null;
    resolve(this);
    if (head.length > end + 4) this.#walk(head.subarray(end + 4));
  }

  #walk(bytes: Buffer): void {
    let at = 0;
    let chunk = bytes;
    if (this.#rest !== null) {
      chunk = Buffer.concat([this.#rest, bytes]);
      this.#rest = null;
    }
    const size = chunk.length;
    if (this.#left > 0) {
      if (size < this.#left) {
        this.#left -= size;
        return;
      }
      at = this.#left;
      this.#left = -1;
      this.#finish(chunk, 0, at);
    }
    while (at < size) {
      if (size - at < 2) break;
      const opcode = (chunk[at] ?? 0) & 15;
      let length = chunk[at + 1] ?? 0;
      let start = at + 2;
      if (length === 126) {
        if (size - at < 4) break;
        length = ((chunk[at + 2] ?? 0) << 8) | (chunk[at + 3] ?? 0);
        start = at + 4;
      } else if (length === 127) {
        if (size - at < 10) break;
        length = chunk.readUInt32BE(at + 6);
        start = at + 10;
      }
      const end = start + length;
      // Read the mark before a long message is passed in parts.
      if (end > size && (length <= ASSEMBLED || size - start <= MARK_AT)) break;
      this.#opcode = opcode;
      this.#length = length;
      this.mark = length > MARK_AT ? (chunk[start + MARK_AT] ?? 0) : 0;
      if (end > size) {
        this.#left = end - size;
        return;
      }
      this.#finish(chunk, start, end);
      at = end;
    }
    if (at < size) this.#rest = Buffer.from(chunk.subarray(at));
  }

  #finish(bytes: Buffer, start: number, end: number): void {
    if (this.#opcode < CLOSE) {
      this.received++;
      this.onMessage(this, bytes, start, end);
    } else if (this.#opcode === PING) {
      this.send(frame(PONG, bytes.subarray(end - this.#length, end)));
    } else if (this.#opcode === CLOSE) {
      this.closed = true;
    }
  }
}

/** The request that opens a WebSocket at `path`. */
export function upgradeRequest(path: string, host: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\n` +
      "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
  );
}

/** Whether the response at `start` accepts an upgrade. */
export function isUpgraded(bytes: Buffer, start: number): boolean {
  return bytes.toString("latin1", start, start + 12) === "HTTP/1.1 101";
}

/** Ignores messages. */
export function ignore(): void {}

/** A masked text message in one frame. */
export function textFrame(text: string): Buffer {
  return frame(1, Buffer.from(text));
}

const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const header = length < 126 ? 2 : 4;
  if (length > 65535) throw new Error("the generator does not send messages over 65535 bytes");
  const bytes = Buffer.alloc(header + MASK.length + length);
  bytes[0] = 0x80 | opcode;
  bytes[1] = 0x80 | Math.min(length, 126);
  if (header === 4) bytes.writeUInt16BE(length, 2);
  MASK.copy(bytes, header);
  for (let i = 0; i < length; i++) bytes[header + 4 + i] = (payload[i] ?? 0) ^ (MASK[i & 3] ?? 0);
  return bytes;
}

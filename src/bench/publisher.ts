import { SocketWriter } from "./socket-writer.ts";
import { BLANK_STAMP, now, writeStamp } from "./stamp.ts";

/** An encoded PUBLISH command, sent many times with a new stamp each time. */
export interface Publication {
  readonly name: string;
  readonly payload: Buffer;
  /** End offset of the stamp in `payload`. */
  readonly stampEnd: number;
  /** The encoded command or commands. */
  readonly bytes: Buffer;
  /** End offset of each stamp in `bytes`, one per message. */
  readonly stampEnds: readonly number[];
}

/** A PUBLISH of Redis. `payload` contains one stamp (stamp.ts); `times` messages are sent in one write. */
export function publication(name: string, payload: Buffer, times = 1): Publication {
  const head = `*3\r\n$7\r\nPUBLISH\r\n$${Buffer.byteLength(name)}\r\n${name}\r\n$${payload.length}\r\n`;
  return encoded(name, payload, Buffer.concat([Buffer.from(head), payload, Buffer.from("\r\n")]), times);
}

/** A POST whose body is `payload`, for servers that take messages by HTTP. */
export function httpPublication(path: string, payload: Buffer, times = 1): Publication {
  const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${payload.length}\r\n\r\n`;
  return encoded(path, payload, Buffer.concat([Buffer.from(head), payload]), times);
}

function encoded(name: string, payload: Buffer, one: Buffer, times: number): Publication {
  const stampEnd = one.lastIndexOf(BLANK_STAMP) + BLANK_STAMP.length;
  const bytes = Buffer.concat(Array.from({ length: times }, () => one));
  return {
    name,
    payload: Buffer.from(payload),
    stampEnd: payload.lastIndexOf(BLANK_STAMP) + BLANK_STAMP.length,
    bytes,
    stampEnds: Array.from({ length: times }, (_, i) => i * one.length + stampEnd),
  };
}

/** Several publications in one write. */
export function inOne(publications: readonly Publication[]): Publication {
  const [first] = publications;
  if (first === undefined) throw new Error("no publication");
  let offset = 0;
  const stampEnds: number[] = [];
  for (const { bytes, stampEnds: ends } of publications) {
    for (const end of ends) stampEnds.push(offset + end);
    offset += bytes.length;
  }
  return { ...first, bytes: Buffer.concat(publications.map(({ bytes }) => bytes)), stampEnds };
}

/** Sends publications, each stamped with the time of sending. */
export interface Sender {
  send(publication: Publication): void;
}

/** A raw connection to Redis, or to a server that takes messages by HTTP; replies are checked for errors only. */
export class Publisher {
  readonly #writer: SocketWriter<undefined>;
  readonly #replies: { text: string };
  readonly #end: () => void;

  private constructor(writer: SocketWriter<undefined>, replies: { text: string }, end: () => void) {
    this.#writer = writer;
    this.#replies = replies;
    this.#end = end;
  }

  /** @param address of Redis (`redis:`), or of the server that takes messages (`http:`) */
  static async connect(address: string): Promise<Publisher> {
    const url = new URL(address);
    const isError = url.protocol === "http:" ? isHttpError : isRedisError;
    const replies = { text: "" };
    let writer: SocketWriter<undefined> | null = null;
    const socket = await Bun.connect({
      hostname: url.hostname,
      port: Number(url.port || 6379),
      socket: {
        data(_socket, bytes) {
          if (isError(bytes)) throw new Error(`${url.host}: ${bytes.toString("latin1", 0, 200)}`);
          if (replies.text !== "" || bytes[0] === DOLLAR) replies.text += bytes.toString("latin1");
        },
        drain() {
          writer?.drain();
        },
        error(_socket, error) {
          throw error;
        },
      },
    });
    socket.setNoDelay(true);
    writer = new SocketWriter(socket);
    return new Publisher(writer, replies, () => socket.end());
  }

  send(publication: Publication): void {
    const stamp = now();
    for (const end of publication.stampEnds) writeStamp(publication.bytes, end, stamp);
    this.#writer.write(publication.bytes);
  }

  /** Writes commands as they are, without a stamp. */
  write(commands: Buffer): void {
    this.#writer.write(commands);
  }

  /** Number of PUBLISH commands that this Redis has received since it started, from all clients. */
  async publishes(): Promise<number> {
    this.#replies.text = "";
    this.#writer.write(Buffer.from("*2\r\n$4\r\nINFO\r\n$12\r\ncommandstats\r\n"));
    const until = performance.now() + 5000;
    while (performance.now() < until) {
      await Bun.sleep(5);
      const { text } = this.#replies;
      const length = /^\$(\d+)\r\n/.exec(text);
      if (length === null || text.length < length[0].length + Number(length[1])) continue;
      this.#replies.text = "";
      return Number(/cmdstat_publish:calls=(\d+)/.exec(text)?.[1] ?? 0);
    }
    throw new Error("Redis does not answer INFO");
  }

  end(): void {
    this.#end();
  }
}

function isRedisError(bytes: Buffer): boolean {
  return bytes[0] === MINUS;
}

/** Looks at the first response of a read: one error is enough to end a run. */
function isHttpError(bytes: Buffer): boolean {
  return /^HTTP\/1\.1 [45]/.test(bytes.toString("latin1", 0, 10));
}

const MINUS = 45;
const DOLLAR = 36;

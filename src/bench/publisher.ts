import { Outlet } from "./outlet.ts";
import { BLANK_STAMP, now, writeStamp } from "./stamp.ts";

/** A PUBLISH in the Redis protocol, made once and sent many times with a new stamp. */
export interface Publication {
  readonly name: string;
  readonly payload: Buffer;
  /** Where the digits of the stamp end in `payload`. */
  readonly stampEnd: number;
  /** All of it as it travels. */
  readonly bytes: Buffer;
  /** Where the digits of each stamp end in `bytes`: one for each message. */
  readonly stampEnds: readonly number[];
}

/** `payload` holds one stamp (stamp.ts); `times` messages travel in one write. */
export function publication(name: string, payload: Buffer, times = 1): Publication {
  const one = Buffer.concat([
    Buffer.from(`*3\r\n$7\r\nPUBLISH\r\n$${Buffer.byteLength(name)}\r\n${name}\r\n$${payload.length}\r\n`),
    payload,
    Buffer.from("\r\n"),
  ]);
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

/** Whatever sends publications, each with the time of sending. */
export interface Sender {
  send(publication: Publication): void;
}

/** One connection to Redis that speaks its protocol raw and reads the answers only for errors. */
export class Publisher {
  readonly #outlet: Outlet<undefined>;
  readonly #answers: { text: string };
  readonly #end: () => void;

  private constructor(outlet: Outlet<undefined>, answers: { text: string }, end: () => void) {
    this.#outlet = outlet;
    this.#answers = answers;
    this.#end = end;
  }

  static async connect(redisUrl: string): Promise<Publisher> {
    const url = new URL(redisUrl);
    const answers = { text: "" };
    let outlet: Outlet<undefined> | null = null;
    const socket = await Bun.connect({
      hostname: url.hostname,
      port: Number(url.port || 6379),
      socket: {
        data(_socket, bytes) {
          if (bytes[0] === MINUS) throw new Error(`Redis: ${bytes.toString("latin1", 0, 200)}`);
          if (answers.text !== "" || bytes[0] === DOLLAR) answers.text += bytes.toString("latin1");
        },
        drain() {
          outlet?.drain();
        },
        error(_socket, error) {
          throw error;
        },
      },
    });
    socket.setNoDelay(true);
    outlet = new Outlet(socket);
    return new Publisher(outlet, answers, () => socket.end());
  }

  send(publication: Publication): void {
    const stamp = now();
    for (const end of publication.stampEnds) writeStamp(publication.bytes, end, stamp);
    this.#outlet.write(publication.bytes);
  }

  /** How many PUBLISH commands this Redis has had from anyone since it started. */
  async publishes(): Promise<number> {
    this.#answers.text = "";
    this.#outlet.write(Buffer.from("*2\r\n$4\r\nINFO\r\n$12\r\ncommandstats\r\n"));
    const until = performance.now() + 5000;
    while (performance.now() < until) {
      await Bun.sleep(5);
      const { text } = this.#answers;
      const length = /^\$(\d+)\r\n/.exec(text);
      if (length === null || text.length < length[0].length + Number(length[1])) continue;
      this.#answers.text = "";
      return Number(/cmdstat_publish:calls=(\d+)/.exec(text)?.[1] ?? 0);
    }
    throw new Error("Redis does not answer INFO");
  }

  end(): void {
    this.#end();
  }
}

const MINUS = 45;
const DOLLAR = 36;

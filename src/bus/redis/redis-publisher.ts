import type { Socket } from "node:net";
import type { PublishAck } from "../bus.ts";
import { type RedisValue, readReply } from "./redis-reply.ts";

/** Told what Redis says of what it is sent. */
export interface PublisherOwner {
  /** Redis answered a message with an error: the message is lost, the connection good. */
  refused(error: string): void;
  /** What Redis answered to the inquiry. */
  answered(value: RedisValue): void;
  /** The connection is of no use: unanswered for too long, or answered with what is no answer. */
  failed(reason: string): void;
}

/** How many ticks a message may go unanswered: with ticks of 200 ms it is settled after 1.6 to 1.8 s. */
const PATIENCE = 8;
/** After so many ticks without a message of ours Redis is asked whether it is there. */
const IDLE = 5;
/** Ticks between two inquiries: 5 s. */
const INQUIRE_EVERY = 25;
/** Of an answer to an inquiry: the nodes of a large cluster. */
const MAX_ANSWER = 4 * 1024 * 1024;
/** Of one reply. Those to PUBLISH and PING are far shorter; an error is a sentence. */
const MAX_REPLY = 16 * 1024;

const PING = "*1\r\n$4\r\nPING\r\n";
const PUBLISH = "*3\r\n$7\r\nPUBLISH\r\n$";
const LINE_FEED = 10;
const COLON = 58;
const PLUS = 43;
const MINUS = 45;

/**
 * The publishing end of a connection that ioredis opened. It writes PUBLISH and reads the answers itself: what a tick
 * publishes is one write, and a receipt costs one slot in a queue. Through ioredis' commands the same is 7 us a
 * message, 2 us in a pipeline for each tick; this is 0.7 (Bun 1.4.5, 100 messages of 100 B a tick).
 */
export class RedisPublisher {
  readonly #owner: PublisherOwner;
  readonly #maxWaiting: number;
  #stream: Socket | null = null;

  /** Written for the next flush: texts and copies of binary payloads, in order. */
  #text = "";
  #parts: (string | Buffer)[] = [];
  #flushing: NodeJS.Immediate | null = null;
  /** More waits for a Redis that does not read than may. */
  #clogged = false;

  /** Receipts not yet answered, in the order sent, from `#first` on. */
  #open: (PublishAck | undefined)[] = [];
  #first = 0;
  #sent = 0;
  #answered = 0;
  /** What `#sent` was at each of the last ticks, oldest first. */
  #marks: number[] = [];
  #idle = 0;
  /** Ticks until the next inquiry. */
  #inquireIn = INQUIRE_EVERY;
  /** How many answers come before that to the inquiry under way; -1 where there is none. */
  #inquiryAt = -1;
  /** The beginning of a reply whose end is still to come. */
  #rest: Buffer | null = null;

  readonly #inquiry: string;

  /**
   * `maxWaiting`: bytes that may wait to be written before messages are refused at once. `inquiry`: a command without
   * effect that is sent every 5 s.
   */
  constructor(owner: PublisherOwner, maxWaiting: number, inquiry: readonly string[]) {
    this.#owner = owner;
    this.#maxWaiting = maxWaiting;
    this.#inquiry = `*${inquiry.length}\r\n${inquiry.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
  }

  /** Whether messages can be sent. */
  get open(): boolean {
    return this.#stream !== null;
  }

  /**
   * Takes a connection over, with no command of ioredis under way on it, and asks whether Redis takes commands: `usable`
   * is settled `true` if it does.
   */
  take(stream: Socket, usable: PublishAck): void {
    this.close();
    // ioredis' own reader would take our answers for those to commands of its own.
    stream.removeAllListeners("data");
    stream.on("data", (chunk: Buffer) => {
      if (stream === this.#stream) this.#read(chunk);
    });
    this.#stream = stream;
    this.#ask(usable);
  }

  publish(name: string, payload: string | Uint8Array, receipt: PublishAck | undefined): void {
    if (this.#stream === null || this.#clogged) {
      receipt?.settled(false);
      return;
    }
    const head = `${PUBLISH}${Buffer.byteLength(name)}\r\n${name}\r\n$`;
    if (typeof payload === "string") {
      this.#text += `${head}${Buffer.byteLength(payload)}\r\n${payload}\r\n`;
    } else {
      // Copied, since it is written after the caller has its buffer back.
      this.#parts.push(`${this.#text}${head}${payload.byteLength}\r\n`, Buffer.from(payload));
      this.#text = "\r\n";
    }
    this.#expect(receipt);
    this.#idle = 0;
    this.#flushing ??= setImmediate(() => this.flush());
  }

  /** Writes what was published since the last time. */
  flush(): void {
    if (this.#flushing !== null) clearImmediate(this.#flushing);
    this.#flushing = null;
    const stream = this.#stream;
    if (stream === null || (this.#text === "" && this.#parts.length === 0)) return;
    const text = this.#text;
    this.#text = "";
    if (this.#parts.length === 0) {
      stream.write(text);
    } else {
      const parts = this.#parts;
      this.#parts = [];
      stream.cork();
      for (const part of parts) stream.write(part);
      stream.write(text);
      stream.uncork();
    }
    this.#clogged = stream.writableLength > this.#maxWaiting;
  }

  /** Once every 200 ms. Time is counted in ticks, so that a pause of our own is not taken for one of Redis. */
  tick(): void {
    const stream = this.#stream;
    if (stream === null) return;
    if (this.#marks.length === PATIENCE) {
      const mark = this.#marks.shift();
      if (mark !== undefined && mark > this.#answered) {
        this.#owner.failed("no answer");
        return;
      }
    }
    this.#marks.push(this.#sent);
    this.#clogged = stream.writableLength > this.#maxWaiting;
    if (--this.#inquireIn <= 0 && this.#inquiryAt < 0) {
      this.#inquireIn = INQUIRE_EVERY;
      this.#inquiryAt = this.#sent;
      this.#ask(undefined, this.#inquiry);
    } else if (++this.#idle >= IDLE) this.#ask(undefined);
  }

  /** Lets go of the connection; what is unanswered is settled `false`, in order. */
  close(): void {
    this.#stream = null;
    if (this.#flushing !== null) clearImmediate(this.#flushing);
    this.#flushing = null;
    this.#text = "";
    this.#parts = [];
    this.#clogged = false;
    this.#rest = null;
    this.#marks = [];
    this.#idle = 0;
    this.#inquireIn = INQUIRE_EVERY;
    this.#inquiryAt = -1;
    const open = this.#open;
    const first = this.#first;
    this.#open = [];
    this.#first = 0;
    this.#sent = 0;
    this.#answered = 0;
    for (let i = first; i < open.length; i++) open[i]?.settled(false);
  }

  #ask(receipt: PublishAck | undefined, question = PING): void {
    this.#text += question;
    this.#expect(receipt);
    this.#idle = 0;
    this.flush();
  }

  #expect(receipt: PublishAck | undefined): void {
    this.#open.push(receipt);
    this.#sent++;
  }

  /** Answers are one line each: `:<how many heard it>`, `+PONG`, `-<error>`. That to an inquiry alone may be longer. */
  #read(chunk: Buffer): void {
    const stream = this.#stream;
    let data = chunk;
    if (this.#rest !== null) {
      data = Buffer.concat([this.#rest, chunk]);
      this.#rest = null;
    }
    let at = 0;
    while (at < data.length) {
      if (this.#answered === this.#inquiryAt) {
        const answer = readReply(data, at);
        if (answer === "malformed" || (answer === null && data.length - at > MAX_ANSWER)) {
          this.#owner.failed("an answer that is not Redis'");
          return;
        }
        if (answer === null) {
          this.#rest = Buffer.from(data.subarray(at));
          return;
        }
        this.#inquiryAt = -1;
        this.#settle(true);
        this.#owner.answered(answer.value);
        if (stream !== this.#stream) return;
        at = answer.end;
        continue;
      }
      let end = at;
      while (end < data.length && data[end] !== LINE_FEED) end++;
      if (end === data.length) {
        if (end - at > MAX_REPLY) this.#owner.failed("an answer without an end");
        else this.#rest = Buffer.from(data.subarray(at));
        return;
      }
      const kind = data[at];
      if (kind !== COLON && kind !== PLUS && kind !== MINUS) {
        this.#owner.failed("an answer that is not Redis'");
        return;
      }
      if (kind === MINUS) this.#owner.refused(data.toString("utf8", at + 1, end).trimEnd());
      this.#settle(kind !== MINUS);
      // A receipt may have led to the end of this connection.
      if (stream !== this.#stream) return;
      at = end + 1;
    }
  }

  #settle(taken: boolean): void {
    if (this.#first === this.#open.length) return;
    const receipt = this.#open[this.#first];
    this.#open[this.#first] = undefined;
    this.#first++;
    this.#answered++;
    if (this.#first === this.#open.length) {
      this.#open = [];
      this.#first = 0;
    } else if (this.#first >= 4096 && this.#first * 2 > this.#open.length) {
      this.#open = this.#open.slice(this.#first);
      this.#first = 0;
    }
    receipt?.settled(taken);
  }
}

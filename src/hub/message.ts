import { isAscii } from "node:buffer";
import { isJson } from "./json/is-json.ts";

const NO_BYTES = Buffer.alloc(0);

/** Bytes from which on a frame is made where its payload lies; below, joining texts is quicker. */
const LARGE = 2048;

/** What may be written behind a payload, in bytes (`BusListener.message`). */
const ROOM_BEHIND = 2;

/**
 * One message on its way to the members of a channel. Its payload is JSON text, unchanged since its sender wrote it, or
 * bytes. Made once for each message, however many hear it, and good only while it is delivered: its bytes are the bus'.
 */
export class Message {
  readonly event: string;
  /** The payload's bytes; empty where the text came first. */
  readonly bytes: Buffer;
  /** Bytes of the payload. */
  readonly size: number;
  /** `presence_state` and `presence_diff`: not for those whose token does not let them see who is there. */
  readonly presence: boolean;
  readonly isJson: boolean;
  readonly #ascii: boolean;
  readonly #room: number;
  #json: string | null;

  constructor(event: string, payload: string | Buffer, room: number, presence: boolean) {
    this.event = event;
    this.presence = presence;
    this.#room = room;
    if (typeof payload === "string") {
      this.bytes = NO_BYTES;
      this.size = Buffer.byteLength(payload);
      this.isJson = true;
      this.#ascii = false;
      this.#json = payload;
    } else {
      this.bytes = payload;
      this.size = payload.length;
      this.isJson = isJson(payload);
      this.#ascii = this.isJson && isAscii(payload);
      this.#json = null;
    }
  }

  /** The payload as JSON text, or `null` where it is binary. */
  get json(): string | null {
    if (this.#json === null && this.isJson) this.#json = this.bytes.toString(this.#ascii ? "latin1" : "utf8");
    return this.#json;
  }

  /** `before`, the JSON payload and `behind` as one text; both are ASCII if `plain`. */
  framed(before: string, behind: string, plain: boolean): string {
    const { bytes, size } = this;
    const fits = before.length <= this.#room && behind.length <= ROOM_BEHIND;
    if (!plain || !this.#ascii || !fits || size < LARGE) return before + (this.json ?? "null") + behind;
    const whole = Buffer.from(
      bytes.buffer,
      bytes.byteOffset - before.length,
      before.length + size + behind.length,
    );
    whole.write(before, 0, "latin1");
    whole.write(behind, before.length + size, "latin1");
    return whole.toString("latin1");
  }
}

/** A message of our own, whose payload is JSON text. */
export function jsonMessage(event: string, json: string, presence = false): Message {
  return new Message(event, json, 0, presence);
}

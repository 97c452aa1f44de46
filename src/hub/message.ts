import { isAscii } from "node:buffer";
import { isJson } from "./json/is-json.ts";

const NO_BYTES = Buffer.alloc(0);

/** From this size, in bytes, a frame is built around its payload in place; below, concatenating strings is faster. */
const LARGE = 2048;

/** What may be written behind a payload, in bytes (`BusListener.message`). */
const ROOM_BEHIND = 2;

/**
 * One message to the listeners of a channel. Its payload is JSON text, exactly as sent, or bytes. Valid only during
 * delivery: the bytes belong to the bus.
 */
export class Message {
  readonly event: string;
  /** The payload's bytes; empty if it was created from text. */
  readonly bytes: Buffer;
  /** Size of the payload, in bytes. */
  readonly size: number;
  /** `presence_diff`: not sent to members whose token does not allow presence. */
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

  /** The payload as JSON text, or `null` if it is binary. */
  get json(): string | null {
    if (this.#json === null && this.isJson) this.#json = this.bytes.toString(this.#ascii ? "latin1" : "utf8");
    return this.#json;
  }

  /** `before`, the JSON payload and `behind` as one string. `plain`: both are ASCII. */
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

/** A message of this server, whose payload is JSON text. */
export function jsonMessage(event: string, json: string, presence = false): Message {
  return new Message(event, json, 0, presence);
}

import { isAscii } from "node:buffer";
import { ROOM_BEHIND } from "../bus/bus.ts";
import { isJson } from "./json/is-json.ts";

const NO_BYTES = Buffer.alloc(0);

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Size of a payload from which it is decoded together with what is around it. */
const LARGE = 16 * 1024;
/** Size of the memory that is kept for frames. */
const KEPT = 1024 * 1024;

/** Memory for frames of messages without room for them. */
let kept: Buffer | null = null;

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
  /** Its number in `Positions`; 0 for a message that did not come on `to:`. */
  readonly seq: number;
  /** The connection of the client that sent it to the others; `null` for a message of a backend or a server. */
  readonly sender: string | null;
  /** Whether the payload was taken for JSON without a check. */
  readonly #unchecked: boolean;
  readonly #ascii: boolean;
  readonly #room: number;
  #json: string | null;

  /**
   * @param trusted whether bytes in braces or brackets are taken for JSON (`trusted_json`)
   * @param room bytes before the payload that may be overwritten, as for `BusListener.message`
   */
  constructor(
    event: string,
    payload: string | Buffer,
    presence: boolean,
    seq = 0,
    sender: string | null = null,
    trusted = false,
    room = 0,
  ) {
    this.event = event;
    this.presence = presence;
    this.seq = seq;
    this.sender = sender;
    this.#room = room;
    if (typeof payload === "string") {
      this.bytes = NO_BYTES;
      this.size = Buffer.byteLength(payload);
      this.isJson = true;
      this.#unchecked = false;
      this.#ascii = false;
      this.#json = payload;
    } else {
      this.bytes = payload;
      this.size = payload.length;
      this.#unchecked = trusted && isEnclosed(payload);
      this.isJson = this.#unchecked || isJson(payload);
      this.#ascii = this.isJson && isAscii(payload);
      this.#json = null;
    }
  }

  /** The payload as JSON text, or `null` if it is binary. */
  get json(): string | null {
    if (this.#json === null && this.isJson) this.#json = this.bytes.toString(this.#ascii ? "latin1" : "utf8");
    return this.#json;
  }

  /**
   * The JSON text between two others, or `null` if the payload is binary. A large one is decoded with what is around it: a
   * concatenation would leave two strings of its size to the garbage collector.
   */
  between(before: string, behind: string): string | null {
    if (this.#ascii && this.size >= LARGE && isAsciiText(before + behind)) {
      const frame = this.#withRoom(before.length, behind.length);
      if (frame !== null) {
        frame.write(before, "latin1");
        frame.write(behind, frame.length - behind.length, "latin1");
        return frame.toString("latin1");
      }
    }
    const { json } = this;
    return json === null ? null : before + json + behind;
  }

  /** Memory that has the payload after `before` bytes, and `behind` more: that of the bus if there is room. `null` for a larger one. */
  #withRoom(before: number, behind: number): Buffer | null {
    const length = before + this.size + behind;
    if (before <= this.#room && behind <= ROOM_BEHIND)
      return Buffer.from(this.bytes.buffer, this.bytes.byteOffset - before, length);
    if (length > KEPT) return null;
    kept ??= Buffer.allocUnsafeSlow(KEPT);
    this.bytes.copy(kept, before);
    return kept.subarray(0, length);
  }

  /** `json` for what is put together with other messages, or parsed: checked in any case. */
  get checkedJson(): string | null {
    return this.#unchecked && !isJson(this.bytes) ? null : this.json;
  }
}

/** Whether bytes begin and end as an object or array does. Binary data seldom does, nor does a text that was cut off. */
function isEnclosed(bytes: Buffer): boolean {
  const last = bytes[bytes.length - 1];
  return bytes[0] === OPEN_BRACE ? last === CLOSE_BRACE : bytes[0] === OPEN_BRACKET && last === CLOSE_BRACKET;
}

function isAsciiText(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

/** A message of this server, whose payload is JSON text. */
export function jsonMessage(event: string, json: string, presence = false): Message {
  return new Message(event, json, presence);
}

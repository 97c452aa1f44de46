import type { Greeting, PublishAck } from "../bus/bus.ts";
import { MAX_ENVELOPE_BYTES } from "../bus/topics.ts";
import type { Addressed, AddressedBus, ReceivedAddressed } from "../hub/addressed.ts";
import type { FleetMessages } from "./fleet-messages.ts";

const KIND = "to";

const NEWLINE = 0x0a;

/** Addressed messages on `hub:to`: an envelope, which is JSON without a newline, a newline, and the payload unchanged. */
export class AddressedMessages implements AddressedBus {
  readonly #messages: FleetMessages;
  readonly #maxBytes: number;

  /** @param maxPayload maximum payload of a message, in bytes */
  constructor(messages: FleetMessages, maxPayload: number) {
    this.#messages = messages;
    this.#maxBytes = maxPayload + MAX_ENVELOPE_BYTES;
  }

  /** @throws Error if names and ids are longer than `MAX_ENVELOPE_BYTES`, which callers limit */
  publish(message: Addressed, ack?: PublishAck): void {
    this.#messages.publish(KIND, bodyOf(message), ack);
  }

  /** A message for the bus. @throws Error as `publish` */
  encode(message: Addressed): Greeting {
    return this.#messages.encode(KIND, bodyOf(message));
  }

  receive(handler: (message: ReceivedAddressed) => void): void {
    const received = (body: Buffer): void => {
      const end = body.indexOf(NEWLINE);
      const envelope = end < 0 ? null : decode(body.toString("utf8", 0, end));
      if (envelope !== null) handler({ ...envelope, payload: body.subarray(end + 1) });
    };
    this.#messages.on(KIND, received, this.#maxBytes);
  }
}

function bodyOf({ channel, event, payload, except, connection, sender }: Addressed): string | Buffer {
  const envelope = `${JSON.stringify([channel, event, except, connection, sender])}\n`;
  if (Buffer.byteLength(envelope) > MAX_ENVELOPE_BYTES / 2)
    throw new Error("the envelope of an addressed message is too long");
  return typeof payload === "string" ? envelope + payload : joined(envelope, payload);
}

function joined(envelope: string, payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(envelope), payload]);
}

/** An envelope of this or another version of this program; `null` if it is none. */
function decode(text: string): Omit<Addressed, "payload"> | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(value)) return null;
  const [channel, event, except, connection, sender]: unknown[] = value;
  if (typeof channel !== "string" || typeof event !== "string" || !isIds(except)) return null;
  if (!isIdOrNull(connection) || !isIdOrNull(sender)) return null;
  return { channel, event, except, connection, sender };
}

function isIds(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

function isIdOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

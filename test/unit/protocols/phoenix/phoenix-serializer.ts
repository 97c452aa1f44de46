import * as phoenix from "phoenix";

/** A message as phoenix.js has it. */
export interface PhoenixMessage {
  readonly join_ref: string | null;
  readonly ref: string | null;
  readonly topic: string;
  readonly event: string;
  readonly payload: unknown;
}

interface Serializer {
  encode(message: PhoenixMessage, callback: (frame: string | ArrayBuffer) => void): void;
  decode(frame: string | ArrayBuffer, callback: (message: PhoenixMessage) => void): void;
}

function isSerializer(value: unknown): value is Serializer {
  return typeof value === "object" && value !== null && "encode" in value && "decode" in value;
}

function serializer(): Serializer {
  const found: unknown = "Serializer" in phoenix ? phoenix.Serializer : undefined;
  if (!isSerializer(found)) throw new Error("phoenix.js exports no Serializer");
  return found;
}

/** What phoenix.js itself writes on the wire. */
export function phoenixEncode(message: PhoenixMessage): string | ArrayBuffer {
  let frame: string | ArrayBuffer = "";
  serializer().encode(message, (encoded) => {
    frame = encoded;
  });
  return frame;
}

/** What phoenix.js itself reads from the wire. */
export function phoenixDecode(frame: string | Uint8Array): PhoenixMessage {
  let message: PhoenixMessage | null = null;
  // It knows text and ArrayBuffer, and takes the whole of one.
  serializer().decode(typeof frame === "string" ? frame : new Uint8Array(frame).buffer, (decoded) => {
    message = decoded;
  });
  if (message === null) throw new Error("phoenix.js read nothing");
  return message;
}

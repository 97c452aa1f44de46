/** Bytes as text: `hex: ff 00 01`. */
const HEX = /^\s*hex:\s*((?:[0-9a-f]{2}\s*)+)$/i;

export type Payload =
  | { readonly type: "json"; readonly value: unknown }
  | { readonly type: "bytes"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: "invalid"; readonly error: string };

/** Parses the payload field: JSON, or bytes as `hex: ff 00`. An empty text is `{}`. */
export function parsePayload(text: string): Payload {
  if (text.trim() === "") return { type: "json", value: {} };
  const hex = HEX.exec(text)?.[1];
  if (hex !== undefined) {
    const digits = hex.replace(/\s/g, "").match(/../g) ?? [];
    return { type: "bytes", bytes: Uint8Array.from(digits, (byte) => Number.parseInt(byte, 16)) };
  }
  try {
    return { type: "json", value: JSON.parse(text) };
  } catch (error) {
    return { type: "invalid", error: error instanceof Error ? error.message : "" };
  }
}

import { bytes as size } from "./format.ts";
import { hexStart } from "./hex-view.ts";

/** Characters of a payload shown in its row. */
const MAX_PREVIEW = 300;

/** One message to show. */
export interface StreamMessage {
  /** Unix ms. */
  readonly at: number;
  readonly channel: string;
  readonly event: string;
  /** `to` clients or `from` a client. */
  readonly direction: "to" | "from";
  /** Agent id of the sender; empty if unknown. */
  readonly by: string;
  /** User of the sender; empty or none if unknown. */
  readonly user?: string;
  /** JSON text, a parsed value, or bytes. */
  readonly payload: { readonly text: string } | { readonly value: unknown } | { readonly bytes: Uint8Array };
  /** Bytes of the whole payload; `null` if unknown. */
  readonly size: number | null;
  /** Whether `payload` is only the beginning. */
  readonly truncated: boolean;
  /** A sentence for its details. */
  note?: string;
}

/** A whole payload as text; bytes as hex. */
export function textOf({ payload }: StreamMessage): string {
  if ("text" in payload) return payload.text;
  if ("value" in payload) return JSON.stringify(payload.value) ?? "";
  return [...payload.bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Cache: created when a message is first visible. */
const previews = new WeakMap<StreamMessage, string>();

/** The beginning of a payload, for its row. */
export function previewOf(message: StreamMessage): string {
  const known = previews.get(message);
  if (known !== undefined) return known;
  const { payload } = message;
  const text =
    "bytes" in payload
      ? `${size(message.size ?? payload.bytes.length)}: ${hexStart(payload.bytes)}`
      : textOf(message).slice(0, MAX_PREVIEW);
  previews.set(message, text);
  return text;
}

/** Who sent a message, in few words. */
export function senderOf({ direction, by, user = "" }: StreamMessage): string {
  if (user !== "") return user;
  if (by !== "") return by;
  return direction === "to" ? "backend" : "server";
}

import { previewOf, type StreamMessage, senderOf, textOf } from "./message-text.ts";

/** Characters of a payload that are searched. */
const MAX_SEARCHED = 4000;

/** Fields that a filter names: `event:update sender:alice direction:in channel:room text`. */
export const FIELDS = ["event", "sender", "channel", "direction"] as const;
type Field = (typeof FIELDS)[number];

/** One condition: a text that a field contains, or any of them where `field` is `null`. */
interface Condition {
  readonly field: Field | null;
  /** In lower case. */
  readonly text: string;
  /** Written with a minus sign: messages that do not contain it. */
  readonly excludes: boolean;
}

export type Filter = (message: StreamMessage) => boolean;

/** A condition: a field and a text, quoted if it has spaces, or a text alone. */
const CONDITION = /(-?)(?:(event|sender|channel|direction):(?:"([^"]*)"|(\S*))|"([^"]*)"(?!\S)|(\S+))/giy;

/** The filter of a text; `null` if it is empty, and every message matches. All of its conditions must be met. */
export function parseFilter(text: string): Filter | null {
  const conditions = conditionsIn(text);
  return conditions.length === 0
    ? null
    : (message) => conditions.every((each) => contains(message, each) !== each.excludes);
}

/** A condition as it is written in a filter. Of a value with spaces and quotes, only what is before the first quote. */
export function condition(field: Field, value: string): string {
  return /\s/.test(value) ? `${field}:"${value.split('"')[0] ?? ""}"` : `${field}:${value}`;
}

function conditionsIn(text: string): Condition[] {
  const found: Condition[] = [];
  const rest = text.trim();
  for (let at = 0; at < rest.length; ) {
    if (rest[at]?.trim() === "") {
      at++;
      continue;
    }
    CONDITION.lastIndex = at;
    const match = CONDITION.exec(rest);
    if (match === null) break;
    at = CONDITION.lastIndex;
    const [, minus, name, quoted, plain, quotedText, plainText] = match;
    const field = FIELDS.find((each) => each === name?.toLowerCase()) ?? null;
    const value = (quoted ?? plain ?? quotedText ?? plainText ?? "").toLowerCase();
    // A field that is still being typed matches everything.
    if (value !== "") found.push({ field, text: value, excludes: minus === "-" });
  }
  return found;
}

function contains(message: StreamMessage, { field, text }: Condition): boolean {
  if (field === "event") return message.event.toLowerCase().includes(text);
  if (field === "channel") return message.channel.toLowerCase().includes(text);
  if (field === "sender") return senderText(message).includes(text);
  if (field === "direction") return directionText(message).includes(text);
  return (
    message.event.toLowerCase().includes(text) ||
    message.channel.toLowerCase().includes(text) ||
    senderText(message).includes(text) ||
    searchedOf(message).includes(text)
  );
}

function senderText(message: StreamMessage): string {
  return `${senderOf(message)} ${message.by}`.toLowerCase();
}

/** Words for the direction, as seen from the server: `from` a client comes in, `to` clients goes out. */
function directionText({ direction }: StreamMessage): string {
  return direction === "to" ? "to out" : "from in";
}

/** Cache: created when a message is first filtered. */
const searched = new WeakMap<StreamMessage, string>();

function searchedOf(message: StreamMessage): string {
  const known = searched.get(message);
  if (known !== undefined) return known;
  const whole = "bytes" in message.payload ? previewOf(message) : textOf(message).slice(0, MAX_SEARCHED);
  const text = whole.toLowerCase();
  searched.set(message, text);
  return text;
}

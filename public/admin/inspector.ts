import { MessageStream } from "../shared/message-stream.ts";
import { element, field, setStatus } from "../shared/page.ts";

/** Shows the live messages of one channel, from server-sent events; EventSource reconnects automatically. */
export class Inspector {
  readonly #stream = new MessageStream("inspect");
  readonly #state = element("inspect-state", HTMLElement);
  #source: EventSource | null = null;
  #channel = "";

  open(channel: string): void {
    if (this.#channel === channel) return;
    this.close();
    this.#channel = channel;
    this.#stream.clear();
    this.#stream.pause(false);
    const source = new EventSource(`api/channels/${encodeURIComponent(channel)}/messages`);
    this.#source = source;
    setStatus(this.#state, "connecting", "waiting");
    source.onopen = () => setStatus(this.#state, "connected", "good");
    source.onerror = () => setStatus(this.#state, "disconnected, reconnecting", "bad");
    source.onmessage = ({ data }) => this.#receive(channel, data);
  }

  close(): void {
    this.#source?.close();
    this.#source = null;
    this.#channel = "";
  }

  #receive(channel: string, data: unknown): void {
    const batch: unknown = JSON.parse(String(data));
    const messages = field(batch, "messages");
    const skipped = Number(field(batch, "skipped"));
    for (const message of Array.isArray(messages) ? messages : []) this.#add(channel, message);
    if (skipped > 0) this.#stream.skip(skipped);
  }

  #add(channel: string, message: unknown): void {
    const json = field(message, "json");
    const base64 = field(message, "base64");
    this.#stream.add({
      at: Number(field(message, "at")),
      channel,
      event: String(field(message, "event")),
      direction: field(message, "direction") === "from" ? "from" : "to",
      by: String(field(message, "agent") ?? ""),
      payload:
        typeof json === "string"
          ? { text: json }
          : { bytes: decodeBase64(typeof base64 === "string" ? base64 : "") },
      size: Number(field(message, "size")),
      truncated: field(message, "cut") === true,
    });
  }
}

function decodeBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

import { MessageStream } from "../shared/message-stream.ts";
import { element, field, say } from "../shared/page.ts";

/** Reads along in one channel, over server-sent events: they come back by themselves after a cut. */
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
    say(this.#state, "opening", "waiting");
    source.onopen = () => say(this.#state, "live", "good");
    source.onerror = () => say(this.#state, "not connected, trying again", "bad");
    source.onmessage = ({ data }) => this.#take(channel, data);
  }

  close(): void {
    this.#source?.close();
    this.#source = null;
    this.#channel = "";
  }

  #take(channel: string, data: unknown): void {
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
          : { bytes: decoded(typeof base64 === "string" ? base64 : "") },
      size: Number(field(message, "size")),
      cut: field(message, "cut") === true,
    });
  }
}

function decoded(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

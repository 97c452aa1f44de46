import { MessageStream } from "../shared/message-stream.ts";
import { element, field, setStatus } from "../shared/page.ts";

/** The server sends something each second. Silence for longer, in ms, is a lost connection that nothing closed. */
const SILENCE = 5000;

/** Shows the live messages of one channel, from server-sent events; EventSource reconnects automatically. */
export class Inspector {
  readonly #stream = new MessageStream("inspect", { senders: true });
  readonly #state = element("inspect-state", HTMLElement);
  #source: EventSource | null = null;
  #channel = "";
  #receivedAt = 0;

  constructor() {
    setInterval(() => {
      if (this.#source?.readyState !== EventSource.OPEN || Date.now() - this.#receivedAt < SILENCE) return;
      setStatus(this.#state, "no answer from the server", "unknown");
    }, 1000);
  }

  open(channel: string): void {
    if (this.#channel === channel) return;
    this.close();
    this.#channel = channel;
    this.#stream.clear();
    this.#stream.pause(false);
    const source = new EventSource(`api/channels/${encodeURIComponent(channel)}/messages`);
    this.#source = source;
    setStatus(this.#state, "connecting", "waiting");
    const showConnected = (): void => {
      this.#receivedAt = Date.now();
      if (this.#state.dataset.state !== "good") setStatus(this.#state, "connected", "good");
    };
    source.onopen = showConnected;
    source.onerror = () => setStatus(this.#state, "disconnected, reconnecting", "bad");
    source.onmessage = ({ data }) => {
      showConnected();
      this.#receive(channel, data);
    };
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
      user: String(field(message, "user") ?? ""),
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

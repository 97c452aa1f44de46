import { ago, amount } from "../shared/format.ts";
import { element, setText } from "../shared/page.ts";
import { showPayload } from "../shared/payload-dialog.ts";
import { VirtualTable } from "../shared/virtual-table.ts";
import { call, type HistoryMessage } from "./api.ts";
import { buttons, text } from "./cells.ts";

/** Kept messages that are loaded. */
const MAX_MESSAGES = 200;

/** Characters of a payload that are shown. */
const MAX_PREVIEW = 300;

/** The newest kept messages of one channel; hidden where no history is configured. */
export class History {
  readonly #section = element("history-section", HTMLElement);
  readonly #table: VirtualTable<HistoryMessage>;
  #channel = "";
  /** Whether the server answered that this channel keeps nothing. */
  #off = false;

  constructor() {
    this.#table = new VirtualTable<HistoryMessage>(element("history", HTMLElement), {
      label: "Kept messages",
      empty: () => "No message is kept.",
      order: { sort: "", order: "desc" },
      columns: [
        { title: "Received", fill: (cell, { at }) => text(cell, ago(at)) },
        { title: "Event", className: "mono", fill: (cell, { event }) => text(cell, event) },
        {
          title: "Payload",
          className: "wide-cell",
          fill: (cell, { payload, base64 }) =>
            text(
              cell,
              (base64 === undefined ? (JSON.stringify(payload) ?? "") : "binary").slice(0, MAX_PREVIEW),
            ),
        },
        {
          title: "Position",
          className: "mono minor long",
          fill: (cell, { position }) => text(cell, position ?? "unknown"),
        },
        {
          title: "Show",
          className: "buttons one",
          fill: (cell, message) =>
            buttons(cell, [
              { title: "Show", label: `Show ${message.event}`, action: () => showPayload(message) },
            ]),
        },
      ],
      load: (offset, limit) => this.#load(offset, limit),
    });
  }

  open(channel: string): void {
    if (channel === this.#channel) return;
    this.#channel = channel;
    this.#section.hidden = true;
    this.#off = false;
    this.#table.restart();
  }

  /** Shows the table of a channel that keeps messages, and hides it for others. */
  refresh(keeps: boolean): void {
    this.#section.hidden = !keeps;
    if (keeps) void this.#table.refresh();
  }

  /** Shows what is kept of a channel without members, if anything is. */
  refreshClosed(): void {
    if (!this.#off) this.refresh(true);
  }

  async #load(offset: number, limit: number) {
    const channel = this.#channel;
    if (this.#section.hidden) return null;
    const answer = await call("GET api/channels/{name}/history", {
      path: channel,
      query: { limit: MAX_MESSAGES },
    });
    if (channel !== this.#channel) return null;
    if (!answer.ok) {
      this.#off = answer.status === 404;
      if (this.#off) this.#section.hidden = true;
      return null;
    }
    const messages = answer.value.messages.toReversed();
    const total = messages.length < MAX_MESSAGES ? amount(messages.length) : `newest ${amount(MAX_MESSAGES)}`;
    setText(element("history-total", HTMLElement), total);
    return { matching: messages.length, rows: messages.slice(offset, offset + limit) };
  }
}

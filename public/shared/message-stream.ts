import { copyButton } from "./copy.ts";
import { csv, jsonLines, saveFile } from "./download.ts";
import { amount, compact, bytes as size, timeOf } from "./format.ts";
import { hexView } from "./hex-view.ts";
import { jsonView } from "./json-view.ts";
import { condition, parseFilter } from "./message-filter.ts";
import { previewOf, type StreamMessage, senderOf, textOf } from "./message-text.ts";
import { button, container, element, oncePerFrame, setText, textElement } from "./page.ts";
import { filterHelp, SavedFilters } from "./saved-filters.ts";

/** Messages kept; older ones are dropped. */
const MAX_MESSAGES = 5000;

/** Row height in px, of lists at least and less than `NARROW` px wide; the same as in style.css. */
const ROW_HEIGHT = 30;
const NARROW_ROW_HEIGHT = 48;
const NARROW = 440;

/** Rows rendered above and below the visible ones. */
const MARGIN = 6;

export interface StreamOptions {
  /** Rows name the channel. */
  readonly channels?: boolean;
  /** Rows name the sender. */
  readonly senders?: boolean;
}

/** A list of messages, newest first. Only visible rows are rendered, for thousands of messages per second. */
export class MessageStream {
  readonly #list: HTMLElement;
  readonly #canvas: HTMLElement;
  readonly #detail: HTMLElement;
  readonly #count: HTMLElement;
  readonly #pause: HTMLButtonElement;
  readonly #filter: HTMLInputElement;
  readonly #empty: HTMLElement;
  readonly #noMatch = textElement("p", "No message matches the filter.", "stream-note");
  readonly #saved: SavedFilters;
  /** The column before the event; `null`: none. */
  readonly #column: ((message: StreamMessage) => string) | null;
  readonly #requestRender: () => void;
  /** Oldest first; trimmed when it reaches twice `MAX_MESSAGES`. */
  #messages: StreamMessage[] = [];
  /** Cached result of `#filtered()`; `null`: outdated. */
  #filterResult: readonly StreamMessage[] | null = null;
  #received = 0;
  #skipped = 0;
  /** The messages at the time of the pause, newest first; `null`: not paused. */
  #frozen: readonly StreamMessage[] | null = null;
  /** Received since the pause. */
  #held = 0;
  #rowHeight = ROW_HEIGHT;
  #selected: StreamMessage | null = null;
  #rows: HTMLElement[] = [];
  #rate = 0;
  #rateFrom = { received: 0, at: performance.now() };

  /** @param prefix of the ids of its elements: list, detail, count, pause, filter, clear, empty (shown without messages) */
  constructor(prefix: string, { channels = false, senders = false }: StreamOptions = {}) {
    this.#column = channels ? ({ channel }) => channel : senders ? senderOf : null;
    this.#list = element(`${prefix}-list`, HTMLElement);
    this.#detail = element(`${prefix}-detail`, HTMLElement);
    this.#count = element(`${prefix}-count`, HTMLElement);
    this.#pause = element(`${prefix}-pause`, HTMLButtonElement);
    this.#filter = element(`${prefix}-filter`, HTMLInputElement);
    this.#canvas = container("div", "canvas");
    this.#canvas.setAttribute("role", "presentation");
    this.#list.append(this.#canvas);
    this.#list.classList.toggle("with-channel", this.#column !== null);
    this.#empty =
      document.getElementById(`${prefix}-empty`) ?? textElement("p", "No messages yet.", "stream-note");
    // List and details share one area of fixed height: what is below does not move when a message opens.
    const body = container("div", "stream-body");
    this.#list.replaceWith(body);
    body.append(this.#list, this.#empty, this.#noMatch, this.#detail);
    this.#requestRender = oncePerFrame(() => this.#render());
    this.#list.addEventListener("scroll", this.#requestRender, { passive: true });
    this.#list.addEventListener("keydown", (key) => this.#onKey(key));
    this.#list.addEventListener("click", (click) => this.#onClick(click));
    this.#pause.addEventListener("click", () => this.pause(this.#frozen === null));
    this.#filter.addEventListener("input", () => this.#applyFilter());
    this.#saved = new SavedFilters(this.#filter, () => this.#applyFilter());
    this.#filter.after(...this.#saved.elements);
    body.after(this.#foot(prefix));
    element(`${prefix}-clear`, HTMLButtonElement).addEventListener("click", () => this.clear());
    new ResizeObserver(() => this.#onResize()).observe(this.#list);
    setInterval(() => this.#updateRate(), 1000);
  }

  add(message: StreamMessage): void {
    this.#received++;
    this.#messages.push(message);
    if (this.#messages.length >= MAX_MESSAGES * 2) this.#messages = this.#messages.slice(-MAX_MESSAGES);
    if (this.#frozen !== null) this.#held++;
    else this.#filterResult = null;
    this.#requestRender();
  }

  /** Counts messages that the server left out of the stream. */
  skip(count: number): void {
    this.#received += count;
    this.#skipped += count;
    if (this.#frozen !== null) this.#held += count;
    this.#requestRender();
  }

  clear(): void {
    this.#messages = [];
    if (this.#frozen !== null) this.#frozen = [];
    this.#held = 0;
    this.#received = 0;
    this.#skipped = 0;
    this.#rateFrom = { received: 0, at: performance.now() };
    this.#select(null);
    this.#applyFilter();
  }

  pause(paused: boolean): void {
    this.#frozen = paused ? this.#newestFirst() : null;
    this.#held = 0;
    this.#pause.textContent = paused ? "Resume" : "Pause";
    this.#pause.setAttribute("aria-pressed", String(paused));
    this.#applyFilter();
  }

  #applyFilter(): void {
    this.#filterResult = null;
    this.#saved.update();
    this.#requestRender();
  }

  /** The messages that match the filter, newest first. */
  #filtered(): readonly StreamMessage[] {
    if (this.#filterResult !== null) return this.#filterResult;
    const filter = parseFilter(this.#filter.value);
    const kept = this.#frozen ?? this.#newestFirst();
    this.#filterResult = filter === null ? kept : kept.filter(filter);
    return this.#filterResult;
  }

  #newestFirst(): readonly StreamMessage[] {
    return this.#messages.slice(-MAX_MESSAGES).reverse();
  }

  #onResize(): void {
    const narrow = this.#list.clientWidth < NARROW;
    const height = narrow ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
    this.#list.classList.toggle("narrow", narrow);
    this.#list.scrollTop *= height / this.#rowHeight;
    this.#rowHeight = height;
    // The details of a message take a part of the list's room.
    if (this.#selected !== null) this.#scrollTo(Math.max(0, this.#filtered().indexOf(this.#selected)));
    this.#requestRender();
  }

  #updateRate(): void {
    const now = performance.now();
    const passed = now - this.#rateFrom.at;
    this.#rate = Math.max(0, ((this.#received - this.#rateFrom.received) * 1000) / passed);
    this.#rateFrom = { received: this.#received, at: now };
    this.#requestRender();
  }

  #render(): void {
    const shown = this.#filtered();
    const skipped = this.#skipped === 0 ? "" : `, ${amount(this.#skipped)} skipped`;
    const state = this.#frozen === null ? `${compact(this.#rate)}/s` : `paused, ${amount(this.#held)} new`;
    setText(this.#count, this.#received === 0 ? "none" : `${amount(this.#received)}${skipped}, ${state}`);
    this.#empty.hidden = this.#received > 0;
    this.#noMatch.hidden = this.#received === 0 || shown.length > 0;
    this.#canvas.style.height = `${Math.max(1, shown.length) * this.#rowHeight}px`;
    const first = Math.max(0, Math.floor(this.#list.scrollTop / this.#rowHeight) - MARGIN);
    const last = Math.min(
      shown.length,
      Math.ceil((this.#list.scrollTop + this.#list.clientHeight) / this.#rowHeight) + MARGIN,
    );
    while (this.#rows.length < last - first) this.#rows.push(this.#addRow());
    for (const [index, row] of this.#rows.entries()) {
      const message = shown[first + index];
      row.hidden = message === undefined || first + index >= last;
      if (message !== undefined && !row.hidden) this.#fill(row, message, first + index);
    }
    const active = this.#rows.find((row) => !row.hidden && row.ariaSelected === "true");
    if (active === undefined) this.#list.removeAttribute("aria-activedescendant");
    else this.#list.setAttribute("aria-activedescendant", active.id);
  }

  #addRow(): HTMLElement {
    const row = container(
      "div",
      "message",
      textElement("time", ""),
      textElement("span", "", "direction"),
      textElement("span", "", "channel"),
      textElement("span", "", "event"),
      textElement("span", "", "text"),
    );
    row.setAttribute("role", "option");
    row.id = `${this.#list.id}-${this.#rows.length}`;
    this.#canvas.append(row);
    return row;
  }

  #fill(row: HTMLElement, message: StreamMessage, index: number): void {
    row.style.transform = `translateY(${index * this.#rowHeight}px)`;
    row.dataset.index = String(index);
    row.ariaSelected = String(message === this.#selected);
    const [time, direction, channel, event, text] = row.children;
    if (!(time instanceof HTMLElement) || !(direction instanceof HTMLElement)) return;
    if (!(event instanceof HTMLElement) || !(text instanceof HTMLElement)) return;
    if (!(channel instanceof HTMLElement)) return;
    setText(time, timeOf(message.at));
    setText(direction, message.direction === "to" ? "↓" : "↑");
    row.dataset.direction = message.direction;
    channel.hidden = this.#column === null;
    setText(channel, this.#column?.(message) ?? "");
    channel.title = channel.textContent;
    direction.title = message.direction === "to" ? "to clients" : `from ${senderOf(message)}`;
    setText(event, message.event);
    setText(text, previewOf(message));
  }

  #onClick(click: Event): void {
    const row = click.target instanceof Element ? click.target.closest(".message") : null;
    if (!(row instanceof HTMLElement)) return;
    this.#select(this.#filtered()[Number(row.dataset.index)] ?? null);
  }

  #onKey(key: KeyboardEvent): void {
    const shown = this.#filtered();
    const at = this.#selected === null ? -1 : shown.indexOf(this.#selected);
    const page = Math.max(1, Math.floor(this.#list.clientHeight / this.#rowHeight) - 1);
    const steps: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: Math.max(0, at - 1),
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: shown.length - 1,
    };
    const target = steps[key.key];
    if (target === undefined || shown.length === 0) return;
    key.preventDefault();
    const index = Math.min(Math.max(target, 0), shown.length - 1);
    this.#select(shown[index] ?? null);
    this.#scrollTo(index);
  }

  /** Scrolls by as little as shows a row. */
  #scrollTo(index: number): void {
    const top = index * this.#rowHeight;
    const last = top + this.#rowHeight - this.#list.clientHeight;
    if (top < this.#list.scrollTop) this.#list.scrollTop = top;
    else if (last > this.#list.scrollTop) this.#list.scrollTop = last;
  }

  /** Shows the details of one message; they stay while the stream goes on. */
  #select(message: StreamMessage | null): void {
    this.#selected = message;
    this.#detail.hidden = message === null;
    this.#detail.replaceChildren(...(message === null ? [] : this.#detailOf(message)));
    this.#requestRender();
  }

  /** Adds a condition to the filter. */
  #narrow(more: string): void {
    const { value } = this.#filter;
    if (!value.split(/\s+/).includes(more)) this.#filter.value = `${value} ${more}`.trim();
    this.#applyFilter();
    this.#filter.focus();
  }

  /** Below the list: how to filter, and files of the messages that the list shows. */
  #foot(prefix: string): HTMLElement {
    const save = (extension: string, type: string, print: (messages: readonly StreamMessage[]) => string) => {
      const made = button(extension === "csv" ? "CSV" : "JSON lines", () => {
        const name = `messages-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${extension}`;
        saveFile(name, type, print(this.#filtered().toReversed()));
      });
      made.id = `${prefix}-${extension}`;
      return made;
    };
    return container(
      "div",
      "stream-foot",
      filterHelp(),
      container(
        "p",
        "actions",
        textElement("span", "Download what is shown:", "quiet"),
        save("jsonl", "application/x-ndjson", jsonLines),
        save("csv", "text/csv;charset=utf-8", csv),
      ),
    );
  }

  #detailOf(message: StreamMessage): HTMLElement[] {
    const { channel, event, direction, by, payload, truncated, note } = message;
    const topic = direction === "to" ? `to:${channel}:${event}` : `from:${channel}:${event}`;
    const bytes = message.size === null ? "" : `, ${size(message.size)}`;
    const user = message.user ? ` (${message.user})` : "";
    const sender = by === "" ? "" : `, by ${by}${user}`;
    const head = container(
      "div",
      "detail-head",
      container(
        "p",
        "",
        textElement("code", topic),
        textElement("span", ` ${timeOf(message.at)}${bytes}${sender}`, "quiet"),
      ),
      container(
        "p",
        "actions",
        button("Only this event", () => this.#narrow(condition("event", event))),
        ...(direction === "from" && by !== ""
          ? [button("Only this sender", () => this.#narrow(condition("sender", senderOf(message))))]
          : []),
        copyButton(() => textOf(message), "Copy payload"),
        button("Close", () => {
          this.#select(null);
          this.#list.focus();
        }),
      ),
    );
    const body = "bytes" in payload ? hexView(payload.bytes) : jsonOf(payload);
    const notes = [
      ...(note === undefined ? [] : [note]),
      ...(truncated ? ["The payload is truncated."] : []),
    ];
    return [head, ...notes.map((text) => textElement("p", text, "quiet")), body];
  }
}

function jsonOf(payload: { readonly text: string } | { readonly value: unknown }): HTMLElement {
  if ("value" in payload) return jsonView(payload.value);
  try {
    return jsonView(JSON.parse(payload.text));
  } catch {
    return textElement("pre", payload.text, "raw");
  }
}

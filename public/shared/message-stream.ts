import { copyButton } from "./copy.ts";
import { amount, compact, bytes as size, timeOf } from "./format.ts";
import { hexStart, hexView } from "./hex-view.ts";
import { jsonView } from "./json-view.ts";
import { box, button, element, line, oncePerFrame, put } from "./page.ts";

/** Messages that are kept; older ones go. */
const KEPT = 5000;

/** Height of a row in px, as in the style sheet. */
const ROW = 30;

/** Rows drawn beyond what is seen, above and below. */
const MARGIN = 6;

/** Characters of a payload in its row. */
const PREVIEW = 300;

/** One message, however it came here. */
export interface Shown {
  /** Unix ms. */
  readonly at: number;
  readonly channel: string;
  readonly event: string;
  /** `to` the clients, or `from` one of them. */
  readonly direction: "to" | "from";
  /** Who sent it, where that is known. */
  readonly by: string;
  /** The payload: text of JSON, a value of it, or bytes. */
  readonly payload: { readonly text: string } | { readonly value: unknown } | { readonly bytes: Uint8Array };
  /** Bytes of the whole payload, where known. */
  readonly size: number | null;
  /** Whether the payload is its beginning only. */
  readonly cut: boolean;
}

/** A list of messages, the newest first, that stays quick at thousands a second: only what is seen is drawn. */
export class MessageStream {
  readonly #list: HTMLElement;
  readonly #canvas: HTMLElement;
  readonly #detail: HTMLElement;
  readonly #count: HTMLElement;
  readonly #pause: HTMLButtonElement;
  readonly #filter: HTMLInputElement;
  readonly #draw: () => void;
  /** A ring: the newest is at `#next - 1`. */
  #kept: Shown[] = [];
  /** While it is paused or filtered: what is shown, the newest first. */
  #view: readonly Shown[] | null = null;
  #received = 0;
  #skipped = 0;
  #paused = false;
  #selected: Shown | null = null;
  #rows: HTMLElement[] = [];
  #rate = 0;
  #rateFrom = { received: 0, at: performance.now() };

  /** @param prefix of the ids of its elements: list, detail, count, pause, filter, clear */
  constructor(prefix: string) {
    this.#list = element(`${prefix}-list`, HTMLElement);
    this.#detail = element(`${prefix}-detail`, HTMLElement);
    this.#count = element(`${prefix}-count`, HTMLElement);
    this.#pause = element(`${prefix}-pause`, HTMLButtonElement);
    this.#filter = element(`${prefix}-filter`, HTMLInputElement);
    this.#canvas = box("div", "canvas");
    this.#canvas.setAttribute("role", "presentation");
    this.#list.append(this.#canvas);
    this.#draw = oncePerFrame(() => this.#render());
    this.#list.addEventListener("scroll", this.#draw, { passive: true });
    this.#list.addEventListener("keydown", (key) => this.#steer(key));
    this.#list.addEventListener("click", (click) => this.#clicked(click));
    this.#pause.addEventListener("click", () => this.pause(!this.#paused));
    this.#filter.addEventListener("input", () => this.#look());
    element(`${prefix}-clear`, HTMLButtonElement).addEventListener("click", () => this.clear());
    new ResizeObserver(this.#draw).observe(this.#list);
    setInterval(() => this.#measure(), 1000);
  }

  add(message: Shown): void {
    this.#received++;
    this.#kept.push(message);
    if (this.#kept.length >= KEPT * 2) this.#kept = this.#kept.slice(-KEPT);
    if (this.#paused) return;
    this.#view = null;
    this.#draw();
  }

  /** Counts messages that went by unseen. */
  skip(count: number): void {
    this.#received += count;
    this.#skipped += count;
    this.#draw();
  }

  clear(): void {
    this.#kept = [];
    this.#view = null;
    this.#received = 0;
    this.#skipped = 0;
    this.#rateFrom = { received: 0, at: performance.now() };
    this.#select(null);
    this.#look();
  }

  pause(paused: boolean): void {
    this.#paused = paused;
    this.#pause.textContent = paused ? "Resume" : "Pause";
    this.#pause.setAttribute("aria-pressed", String(paused));
    this.#look();
  }

  #look(): void {
    this.#view = null;
    this.#draw();
  }

  /** The newest first, as far as the filter lets them through. */
  #shown(): readonly Shown[] {
    if (this.#view !== null) return this.#view;
    const wanted = this.#filter.value.trim().toLowerCase();
    const kept = this.#kept.slice(-KEPT).reverse();
    this.#view = wanted === "" ? kept : kept.filter((message) => matches(message, wanted));
    return this.#view;
  }

  #measure(): void {
    const now = performance.now();
    const passed = now - this.#rateFrom.at;
    this.#rate = Math.max(0, ((this.#received - this.#rateFrom.received) * 1000) / passed);
    this.#rateFrom = { received: this.#received, at: now };
    this.#draw();
  }

  #render(): void {
    const shown = this.#shown();
    const left = this.#skipped === 0 ? "" : `, ${amount(this.#skipped)} left out`;
    const state = this.#paused ? "paused" : `${compact(this.#rate)}/s`;
    put(this.#count, this.#received === 0 ? "none yet" : `${amount(this.#received)}${left}, ${state}`);
    this.#canvas.style.height = `${Math.max(1, shown.length) * ROW}px`;
    const first = Math.max(0, Math.floor(this.#list.scrollTop / ROW) - MARGIN);
    const last = Math.min(
      shown.length,
      Math.ceil((this.#list.scrollTop + this.#list.clientHeight) / ROW) + MARGIN,
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
    const row = box(
      "div",
      "message",
      line("time", ""),
      line("span", "", "way"),
      line("span", "", "event"),
      line("span", "", "text"),
    );
    row.setAttribute("role", "option");
    row.id = `${this.#list.id}-${this.#rows.length}`;
    this.#canvas.append(row);
    return row;
  }

  #fill(row: HTMLElement, message: Shown, index: number): void {
    row.style.transform = `translateY(${index * ROW}px)`;
    row.dataset.index = String(index);
    row.ariaSelected = String(message === this.#selected);
    const [time, way, event, text] = row.children;
    if (!(time instanceof HTMLElement) || !(way instanceof HTMLElement)) return;
    if (!(event instanceof HTMLElement) || !(text instanceof HTMLElement)) return;
    put(time, timeOf(message.at));
    put(way, message.direction === "to" ? "↓" : "↑");
    way.title = message.direction === "to" ? "to clients" : `from ${message.by || "the server, of a client"}`;
    put(event, message.event);
    put(text, previewOf(message));
  }

  #clicked(click: Event): void {
    const row = click.target instanceof Element ? click.target.closest(".message") : null;
    if (!(row instanceof HTMLElement)) return;
    this.#select(this.#shown()[Number(row.dataset.index)] ?? null);
  }

  #steer(key: KeyboardEvent): void {
    const shown = this.#shown();
    const at = this.#selected === null ? -1 : shown.indexOf(this.#selected);
    const page = Math.max(1, Math.floor(this.#list.clientHeight / ROW) - 1);
    const steps: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: Math.max(0, at - 1),
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: shown.length - 1,
    };
    const wanted = steps[key.key];
    if (wanted === undefined || shown.length === 0) return;
    key.preventDefault();
    const index = Math.min(Math.max(wanted, 0), shown.length - 1);
    this.#select(shown[index] ?? null);
    const top = index * ROW;
    if (top < this.#list.scrollTop) this.#list.scrollTop = top;
    else if (top + ROW > this.#list.scrollTop + this.#list.clientHeight) {
      this.#list.scrollTop = top + ROW - this.#list.clientHeight;
    }
  }

  /** Shows one message whole. What is looked at stays while the stream goes on. */
  #select(message: Shown | null): void {
    this.#selected = message;
    this.#detail.hidden = message === null;
    this.#detail.replaceChildren(...(message === null ? [] : this.#detailOf(message)));
    this.#draw();
  }

  #detailOf(message: Shown): HTMLElement[] {
    const { channel, event, direction, by, payload, cut } = message;
    const where = direction === "to" ? `to:${channel}:${event}` : `from:${channel}:${event}`;
    const bytes = message.size === null ? "" : `, ${size(message.size)}`;
    const sender = by === "" ? "" : `, by ${by}`;
    const head = box(
      "div",
      "detail-head",
      box("p", "", line("code", where), line("span", ` ${timeOf(message.at)}${bytes}${sender}`, "quiet")),
      box(
        "p",
        "actions",
        copyButton(() => textOf(message), "Copy payload"),
        button("Close", () => {
          this.#select(null);
          this.#list.focus();
        }),
      ),
    );
    const body = "bytes" in payload ? hexView(payload.bytes) : jsonOf(payload);
    return [head, ...(cut ? [line("p", "This is the beginning only.", "quiet")] : []), body];
  }
}

function jsonOf(payload: { readonly text: string } | { readonly value: unknown }): HTMLElement {
  if ("value" in payload) return jsonView(payload.value);
  try {
    return jsonView(JSON.parse(payload.text));
  } catch {
    return line("pre", payload.text, "raw");
  }
}

function textOf({ payload }: Shown): string {
  if ("text" in payload) return payload.text;
  if ("value" in payload) return JSON.stringify(payload.value) ?? "";
  return [...payload.bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Made once for each message that is seen, and kept for as long as it is. */
const previews = new WeakMap<Shown, string>();

function previewOf(message: Shown): string {
  const known = previews.get(message);
  if (known !== undefined) return known;
  const { payload } = message;
  const text =
    "bytes" in payload
      ? `${size(message.size ?? payload.bytes.length)}: ${hexStart(payload.bytes)}`
      : textOf(message).slice(0, PREVIEW);
  previews.set(message, text);
  return text;
}

function matches(message: Shown, wanted: string): boolean {
  return (
    message.event.toLowerCase().includes(wanted) ||
    message.channel.toLowerCase().includes(wanted) ||
    message.by.toLowerCase().includes(wanted) ||
    previewOf(message).toLowerCase().includes(wanted)
  );
}

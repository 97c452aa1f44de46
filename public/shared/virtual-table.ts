import { box, line, oncePerFrame } from "./page.ts";

/** Height of a row in px, as in the style sheet. */
const ROW = 38;
const MARGIN = 8;

/** A column; one with a `sort` can be put in order by it. */
export interface Column<T> {
  readonly title: string;
  readonly className?: string;
  readonly sort?: string;
  /** Whether the largest come first when it is chosen. */
  readonly falling?: boolean;
  /** Fills a cell that may show another row's content. */
  fill(cell: HTMLElement, row: T): void;
}

export interface Order {
  readonly sort: string;
  readonly order: "asc" | "desc";
}

/** A part of a list that the server holds. */
export interface Part<T> {
  readonly matching: number;
  readonly rows: readonly T[];
}

export interface TableOptions<T> {
  /** For those who hear the page. */
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly empty: string;
  readonly order: Order;
  /** Asks for rows; `null` when there is no answer. */
  load(offset: number, limit: number, order: Order): Promise<Part<T> | null>;
}

/** A table of any length: the server holds and sorts it, and only what is seen is asked for and drawn. */
export class VirtualTable<T> {
  readonly #options: TableOptions<T>;
  readonly #viewport: HTMLElement;
  readonly #body: HTMLTableSectionElement;
  readonly #table: HTMLTableElement;
  readonly #above: HTMLTableRowElement;
  readonly #below: HTMLTableRowElement;
  readonly #rows: HTMLTableRowElement[] = [];
  readonly #none: HTMLElement;
  readonly #draw: () => void;
  readonly #heads: { readonly cell: HTMLElement; readonly sort: string }[] = [];
  #order: Order;
  #part: Part<T> & { readonly offset: number } = { matching: 0, rows: [], offset: 0 };
  #loading = false;
  #again = false;
  #asked = 0;
  #loaded = false;

  constructor(host: HTMLElement, options: TableOptions<T>) {
    this.#options = options;
    this.#order = options.order;
    this.#table = document.createElement("table");
    this.#table.setAttribute("aria-label", options.label);
    const head = this.#table.createTHead().insertRow();
    for (const column of options.columns) head.append(this.#head(column));
    this.#body = this.#table.createTBody();
    this.#above = spacer();
    this.#below = spacer();
    this.#body.append(this.#above, this.#below);
    this.#none = line("p", options.empty, "quiet none");
    this.#none.hidden = true;
    this.#viewport = box("div", "viewport", this.#table, this.#none);
    this.#viewport.tabIndex = 0;
    this.#viewport.setAttribute("role", "region");
    this.#viewport.setAttribute("aria-label", options.label);
    this.#draw = oncePerFrame(() => this.#render());
    this.#viewport.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#scrolled()).observe(this.#viewport);
    host.replaceChildren(this.#viewport);
    this.#mark();
  }

  /** How many rows there are in all. */
  get matching(): number {
    return this.#part.matching;
  }

  /** Asks anew for what is seen. */
  async refresh(): Promise<void> {
    if (this.#loading) {
      this.#again = true;
      return;
    }
    this.#loading = true;
    const { offset, limit } = this.#wanted();
    const asked = ++this.#asked;
    const part = await this.#options.load(offset, limit, this.#order);
    this.#loading = false;
    if (part !== null && asked === this.#asked) {
      this.#part = { ...part, offset };
      this.#loaded = true;
      this.#draw();
    }
    if (this.#again) {
      this.#again = false;
      await this.refresh();
    }
  }

  /** Starts at the top, for another search. */
  restart(): void {
    this.#viewport.scrollTop = 0;
    void this.refresh();
  }

  #head(column: Column<T>): HTMLElement {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (column.className !== undefined) cell.className = column.className;
    const { sort } = column;
    if (sort === undefined) {
      cell.append(line("span", column.title, column.className?.startsWith("buttons") ? "unseen" : ""));
      return cell;
    }
    const press = document.createElement("button");
    press.type = "button";
    press.textContent = column.title;
    press.addEventListener("click", () => {
      const first = column.falling ? "desc" : "asc";
      const turned = this.#order.order === "asc" ? "desc" : "asc";
      this.#order = { sort, order: this.#order.sort === sort ? turned : first };
      this.#mark();
      this.restart();
    });
    cell.append(press);
    this.#heads.push({ cell, sort });
    return cell;
  }

  #mark(): void {
    for (const { cell, sort } of this.#heads) {
      if (sort !== this.#order.sort) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", this.#order.order === "asc" ? "ascending" : "descending");
    }
  }

  #wanted(): { offset: number; limit: number } {
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / ROW) - MARGIN);
    const seen = Math.ceil(this.#viewport.clientHeight / ROW) + 2 * MARGIN;
    return { offset: first, limit: Math.min(1000, Math.max(seen, 1)) };
  }

  #scrolled(): void {
    this.#draw();
    const { offset, limit } = this.#wanted();
    const { rows, offset: have, matching } = this.#part;
    const enough = offset >= have && Math.min(offset + limit, matching) <= have + rows.length;
    if (!enough) void this.refresh();
  }

  #render(): void {
    const { rows, offset, matching } = this.#part;
    this.#table.ariaRowCount = String(matching + 1);
    this.#none.hidden = matching > 0 || !this.#loaded;
    this.#above.style.height = `${offset * ROW}px`;
    this.#below.style.height = `${Math.max(0, matching - offset - rows.length) * ROW}px`;
    while (this.#rows.length < rows.length) this.#rows.push(this.#addRow());
    for (const [index, drawn] of this.#rows.entries()) {
      const row = rows[index];
      drawn.hidden = row === undefined;
      if (row === undefined) continue;
      drawn.ariaRowIndex = String(offset + index + 2);
      for (const [at, column] of this.#options.columns.entries()) {
        const cell = drawn.cells[at];
        if (cell !== undefined) column.fill(cell, row);
      }
    }
  }

  #addRow(): HTMLTableRowElement {
    const row = document.createElement("tr");
    for (const { className } of this.#options.columns) {
      const cell = row.insertCell();
      if (className !== undefined) cell.className = className;
    }
    this.#below.before(row);
    return row;
  }
}

function spacer(): HTMLTableRowElement {
  const row = document.createElement("tr");
  row.className = "spacer";
  row.ariaHidden = "true";
  return row;
}

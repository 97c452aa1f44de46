import { container, oncePerFrame, textElement } from "./page.ts";

/** Row height in px; the same as in style.css. Rows of narrow tables have two lines. */
const ROW_HEIGHT = 38;
const NARROW_ROW_HEIGHT = 52;
const NARROW = matchMedia("(max-width: 44rem)");

/** Rows rendered above and below the visible ones. */
const MARGIN = 8;

/** A column. Sortable if it has a `sort` key. */
export interface Column<T> {
  readonly title: string;
  readonly className?: string;
  readonly sort?: string;
  /** Sorts descending at first. */
  readonly descending?: boolean;
  /** Fills a cell, which may hold another row's content. */
  fill(cell: HTMLElement, row: T): void;
}

export interface Order {
  readonly sort: string;
  readonly order: "asc" | "desc";
}

/** Some rows of a list on the server. */
export interface Rows<T> {
  readonly matching: number;
  readonly rows: readonly T[];
}

export interface TableOptions<T> {
  /** Accessible name. */
  readonly label: string;
  readonly columns: readonly Column<T>[];
  /** What a table without rows shows. */
  empty(): string | HTMLElement;
  readonly order: Order;
  /** Loads rows from the server; `null` if that failed. */
  load(offset: number, limit: number, order: Order): Promise<Rows<T> | null>;
}

/** A table of any length, sorted by the server. Only the visible rows are loaded and rendered. */
export class VirtualTable<T> {
  readonly #options: TableOptions<T>;
  readonly #viewport: HTMLElement;
  readonly #body: HTMLTableSectionElement;
  readonly #table: HTMLTableElement;
  readonly #above: HTMLTableRowElement;
  readonly #below: HTMLTableRowElement;
  readonly #rows: HTMLTableRowElement[] = [];
  readonly #emptyNote: HTMLElement;
  readonly #requestRender: () => void;
  readonly #sortHeaders: { readonly cell: HTMLElement; readonly sort: string }[] = [];
  #order: Order;
  #loadedRows: Rows<T> & { readonly offset: number } = { matching: 0, rows: [], offset: 0 };
  #loading = false;
  #refreshAgain = false;
  #requestCount = 0;
  #loaded = false;

  constructor(host: HTMLElement, options: TableOptions<T>) {
    this.#options = options;
    this.#order = options.order;
    this.#table = document.createElement("table");
    this.#table.setAttribute("aria-label", options.label);
    const head = this.#table.createTHead().insertRow();
    for (const column of options.columns) head.append(this.#headerCell(column));
    this.#body = this.#table.createTBody();
    this.#above = spacer();
    this.#below = spacer();
    this.#body.append(this.#above, this.#below);
    this.#emptyNote = textElement("p", "", "quiet none");
    this.#emptyNote.hidden = true;
    this.#viewport = container("div", "viewport", this.#table, this.#emptyNote);
    this.#viewport.tabIndex = 0;
    this.#viewport.setAttribute("role", "region");
    this.#viewport.setAttribute("aria-label", options.label);
    this.#requestRender = oncePerFrame(() => this.#render());
    this.#viewport.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.#onScroll()).observe(this.#viewport);
    host.replaceChildren(this.#viewport);
    this.#markSortedColumn();
  }

  /** Number of rows on the server that match. */
  get matching(): number {
    return this.#loadedRows.matching;
  }

  /** Reloads the visible rows. */
  async refresh(): Promise<void> {
    if (this.#loading) {
      this.#refreshAgain = true;
      return;
    }
    this.#loading = true;
    const { offset, limit } = this.#visibleRange();
    const request = ++this.#requestCount;
    const rows = await this.#options.load(offset, limit, this.#order);
    this.#loading = false;
    if (rows !== null && request === this.#requestCount) {
      this.#loadedRows = { ...rows, offset };
      this.#loaded = true;
      this.#requestRender();
    }
    if (this.#refreshAgain) {
      this.#refreshAgain = false;
      await this.refresh();
    }
  }

  /** Scrolls to the top and reloads, for another search or order. */
  restart(): void {
    this.#viewport.scrollTop = 0;
    void this.refresh();
  }

  #headerCell(column: Column<T>): HTMLElement {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (column.className !== undefined) cell.className = column.className;
    const { sort } = column;
    if (sort === undefined) {
      cell.append(
        textElement("span", column.title, column.className?.startsWith("buttons") ? "visually-hidden" : ""),
      );
      return cell;
    }
    const sortButton = document.createElement("button");
    sortButton.type = "button";
    sortButton.textContent = column.title;
    sortButton.addEventListener("click", () => {
      const first = column.descending ? "desc" : "asc";
      const reversed = this.#order.order === "asc" ? "desc" : "asc";
      this.#order = { sort, order: this.#order.sort === sort ? reversed : first };
      this.#markSortedColumn();
      this.restart();
    });
    cell.append(sortButton);
    this.#sortHeaders.push({ cell, sort });
    return cell;
  }

  #markSortedColumn(): void {
    for (const { cell, sort } of this.#sortHeaders) {
      if (sort !== this.#order.sort) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", this.#order.order === "asc" ? "ascending" : "descending");
    }
  }

  #visibleRange(): { offset: number; limit: number } {
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / rowHeight()) - MARGIN);
    const count = Math.ceil(this.#viewport.clientHeight / rowHeight()) + 2 * MARGIN;
    return { offset: first, limit: Math.min(1000, Math.max(count, 1)) };
  }

  #onScroll(): void {
    this.#requestRender();
    const { offset, limit } = this.#visibleRange();
    const { rows, offset: loaded, matching } = this.#loadedRows;
    const enough = offset >= loaded && Math.min(offset + limit, matching) <= loaded + rows.length;
    if (!enough) void this.refresh();
  }

  #render(): void {
    const { rows, offset, matching } = this.#loadedRows;
    this.#table.ariaRowCount = String(matching + 1);
    this.#emptyNote.hidden = matching > 0 || !this.#loaded;
    if (!this.#emptyNote.hidden) this.#fillEmptyNote();
    this.#above.style.height = `${offset * rowHeight()}px`;
    this.#below.style.height = `${Math.max(0, matching - offset - rows.length) * rowHeight()}px`;
    while (this.#rows.length < rows.length) this.#rows.push(this.#addRow());
    for (const [index, element] of this.#rows.entries()) {
      const row = rows[index];
      element.hidden = row === undefined;
      if (row === undefined) continue;
      element.ariaRowIndex = String(offset + index + 2);
      for (const [at, column] of this.#options.columns.entries()) {
        const cell = element.cells[at];
        if (cell !== undefined) column.fill(cell, row);
      }
    }
  }

  #fillEmptyNote(): void {
    const note = this.#options.empty();
    // The same text stays in place: a link in it may have focus.
    const text = typeof note === "string" ? note : note.textContent;
    if (this.#emptyNote.textContent !== text) this.#emptyNote.replaceChildren(note);
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

function rowHeight(): number {
  return NARROW.matches ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
}

function spacer(): HTMLTableRowElement {
  const row = document.createElement("tr");
  row.className = "spacer";
  row.ariaHidden = "true";
  return row;
}

import { ago, amount } from "../shared/format.ts";
import { element, setText } from "../shared/page.ts";
import { VirtualTable } from "../shared/virtual-table.ts";
import { type ActRow, call } from "./api.ts";
import { text } from "./cells.ts";
import { missingNote, reachable, ServerFilter } from "./server-filter.ts";

/** Administrative acts of all servers, searched by them. */
export class Audit {
  readonly #table: VirtualTable<ActRow>;
  readonly #search = element("audit-search", HTMLInputElement);
  readonly #result = element("audit-result", HTMLSelectElement);
  readonly #servers = new ServerFilter("audit-server");

  constructor() {
    const total = element("audit-total", HTMLElement);
    this.#table = new VirtualTable<ActRow>(element("audit", HTMLElement), {
      label: "Administrative acts",
      empty: () => "No matching act since the servers started. Older ones are in their logs.",
      order: { sort: "at", order: "desc" },
      columns: [
        {
          title: "When",
          sort: "at",
          descending: true,
          fill: (cell, { at }) => {
            setText(cell, ago(at));
            cell.title = new Date(at).toLocaleString();
          },
        },
        { title: "Who", className: "mono", fill: (cell, { who }) => text(cell, who) },
        { title: "Act", fill: (cell, { act }) => text(cell, act.replaceAll("_", " ")) },
        {
          title: "On what",
          className: "wide-cell",
          fill: (cell, { what }) => text(cell, targetOf(what)),
        },
        { title: "Result", className: "result", fill: fillResult },
        { title: "From", className: "mono minor least", fill: (cell, { from }) => text(cell, from) },
        { title: "Server", className: "minor least", fill: (cell, { server }) => text(cell, server) },
      ],
      load: async (offset, limit, { order }) => {
        const query = {
          ...{ search: this.#search.value, offset, limit, order },
          ...(this.#result.value === "" ? {} : { result: this.#result.value }),
          ...this.#servers.query,
        };
        const answer = await call("GET api/audit", { query });
        if (!answer.ok) return null;
        const { matching, total: all, acts, servers } = answer.value;
        const count = matching === all ? amount(all) : `${amount(matching)} of ${amount(all)}`;
        setText(total, `${count}${missingNote(servers)}`);
        return { matching: reachable(matching, servers), rows: acts };
      },
    });
    this.#search.addEventListener("input", () => this.#table.restart());
    this.#result.addEventListener("change", () => this.#table.restart());
    this.#servers.onChange(() => this.#table.restart());
  }

  /** Sets the servers to choose from. */
  servers(names: readonly string[]): void {
    this.#servers.update(names);
  }

  refresh(): void {
    void this.#table.refresh();
  }
}

function targetOf(what: Readonly<Record<string, string>>): string {
  return Object.entries(what)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

function fillResult(cell: HTMLElement, { result }: ActRow): void {
  text(cell, result);
  cell.dataset.state = result === "ok" ? "good" : "bad";
}

import { ago, amount, compact } from "../shared/format.ts";
import { element, setText } from "../shared/page.ts";
import { VirtualTable } from "../shared/virtual-table.ts";
import { type ChannelRow, call } from "./api.ts";
import { link, number, text } from "./cells.ts";
import { missingNote, reachable, ServerFilter } from "./server-filter.ts";

/** All channels, searched and sorted by the server. */
export class Channels {
  readonly #table: VirtualTable<ChannelRow>;
  readonly #search = element("channels-search", HTMLInputElement);
  readonly #servers = new ServerFilter("channels-server");

  constructor() {
    const total = element("channels-total", HTMLElement);
    this.#table = new VirtualTable<ChannelRow>(element("channels", HTMLElement), {
      label: "Channels",
      empty: () =>
        this.#isFiltered ? "No channel matches." : "No channel is open: one opens when a client joins.",
      order: { sort: "activity", order: "desc" },
      columns: [
        {
          title: "Channel",
          sort: "name",
          className: "wide-cell",
          fill: (cell, { name }) => link(cell, name, `#/channels/${encodeURIComponent(name)}`),
        },
        {
          title: "Members",
          sort: "members",
          descending: true,
          className: "number",
          fill: (cell, { members }) => number(cell, amount(members)),
        },
        {
          title: "Non-Phoenix",
          className: "number minor",
          fill: (cell, { listeners, members }) => {
            const others = Object.values(listeners).reduce((all, count) => all + count, 0) - members;
            number(cell, others > 0 ? amount(others) : "");
          },
        },
        {
          title: "Rate",
          sort: "activity",
          descending: true,
          className: "number",
          fill: (cell, { rate }) => number(cell, rate > 0 ? `${compact(rate)}/s` : ""),
        },
        {
          title: "Messages",
          sort: "messages",
          descending: true,
          className: "number minor",
          fill: (cell, { sent, pushed }) => number(cell, amount(sent + pushed)),
        },
        {
          title: "Last active",
          sort: "last_active",
          descending: true,
          className: "minor",
          fill: (cell, { last_active }) => text(cell, ago(last_active)),
        },
      ],
      load: async (offset, limit, { sort, order }) => {
        const query = { search: this.#search.value, offset, limit, sort, order, ...this.#servers.query };
        const answer = await call("GET api/channels", { query });
        if (!answer.ok) return null;
        const { matching, total: all, channels, servers } = answer.value;
        const count = matching === all ? amount(all) : `${amount(matching)} of ${amount(all)}`;
        setText(total, `${count}${missingNote(servers)}`);
        return { matching: reachable(matching, servers), rows: channels };
      },
    });
    this.#search.addEventListener("input", () => this.#table.restart());
    this.#servers.onChange(() => this.#table.restart());
  }

  get #isFiltered(): boolean {
    return this.#search.value !== "" || this.#servers.query.server !== undefined;
  }

  /** Sets the servers to choose from. */
  servers(names: readonly string[]): void {
    this.#servers.update(names);
  }

  refresh(): void {
    void this.#table.refresh();
  }
}

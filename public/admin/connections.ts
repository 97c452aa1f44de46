import { ago, amount, bytes } from "../shared/format.ts";
import { container, element, pageLink, setText } from "../shared/page.ts";
import { VirtualTable } from "../shared/virtual-table.ts";
import { disconnect } from "./actions.ts";
import { type ConnectionRow, call } from "./api.ts";
import { buttons, number, text, twoLines } from "./cells.ts";
import { missingNote, reachable, ServerFilter } from "./server-filter.ts";

/** All connections. */
export class Connections {
  readonly #table: VirtualTable<ConnectionRow>;
  readonly #search = element("connections-search", HTMLInputElement);
  readonly #protocol = element("connections-protocol", HTMLSelectElement);
  readonly #servers = new ServerFilter("connections-server");

  constructor() {
    const total = element("connections-total", HTMLElement);
    this.#table = new VirtualTable<ConnectionRow>(element("connections", HTMLElement), {
      label: "Connections",
      empty: () =>
        this.#isFiltered
          ? "No connection matches."
          : container(
              "span",
              "",
              "No client is connected. Open the ",
              pageLink("test client", "./"),
              ", or connect one of your own.",
            ),
      order: { sort: "opened_at", order: "desc" },
      columns: [
        {
          title: "User",
          className: "wide-cell",
          // On a narrow screen a second line replaces the columns of protocol, address and channels.
          fill: (cell, row) =>
            twoLines(
              cell,
              row.users.length === 0 ? "–" : row.users.join(", "),
              `${row.protocol}, ${row.address}: ${channelsOf(row)}`,
            ),
        },
        {
          title: "Connection",
          sort: "id",
          className: "mono minor least",
          fill: (cell, { id }) => text(cell, id),
        },
        {
          title: "Address",
          sort: "address",
          className: "mono minor",
          fill: (cell, { address }) => text(cell, address),
        },
        { title: "Server", className: "minor least", fill: (cell, { server }) => text(cell, server) },
        { title: "Protocol", className: "minor", fill: (cell, { protocol }) => text(cell, protocol) },
        {
          title: "Channels",
          sort: "channels",
          descending: true,
          className: "wide-cell minor",
          fill: (cell, row) => text(cell, channelsOf(row)),
        },
        {
          title: "Buffered",
          sort: "buffered",
          descending: true,
          className: "number minor least",
          fill: (cell, { buffered }) => number(cell, buffered === 0 ? "" : bytes(buffered)),
        },
        {
          title: "Opened",
          sort: "opened_at",
          descending: true,
          className: "minor",
          fill: (cell, { opened_at }) => text(cell, ago(opened_at)),
        },
        {
          title: "Actions",
          className: "buttons one needs-moderate",
          fill: (cell, row) =>
            buttons(cell, [
              {
                title: "Close",
                label: `Close connection ${row.id}`,
                action: async () => {
                  await disconnect(row);
                  this.refresh();
                },
              },
            ]),
        },
      ],
      load: async (offset, limit, { sort, order }) => {
        const protocol = this.#protocol.value;
        const query = {
          search: this.#search.value,
          offset,
          limit,
          sort,
          order,
          ...(protocol === "" ? {} : { protocol }),
          ...this.#servers.query,
        };
        const answer = await call("GET api/connections", { query });
        if (!answer.ok) return null;
        const { matching, total: all, connections, servers } = answer.value;
        const count = matching === all ? amount(all) : `${amount(matching)} of ${amount(all)}`;
        setText(total, `${count}${missingNote(servers)}`);
        return { matching: reachable(matching, servers), rows: connections };
      },
    });
    this.#search.addEventListener("input", () => this.#table.restart());
    this.#servers.onChange(() => this.#table.restart());
    this.#protocol.addEventListener("change", () => this.#table.restart());
  }

  get #isFiltered(): boolean {
    const filters = [this.#search.value, this.#protocol.value, this.#servers.query.server ?? ""];
    return filters.some((each) => each !== "");
  }

  /** Sets the protocols to choose from. */
  protocols(names: readonly string[]): void {
    const shown = [...this.#protocol.options].slice(1).map(({ value }) => value);
    if (names.join() === shown.join()) return;
    const chosen = this.#protocol.value;
    this.#protocol.replaceChildren(
      new Option("all protocols", ""),
      ...names.map((name) => new Option(name, name)),
    );
    this.#protocol.value = chosen;
  }

  /** Sets the servers to choose from. */
  servers(names: readonly string[]): void {
    this.#servers.update(names);
  }

  refresh(): void {
    void this.#table.refresh();
  }
}

function channelsOf({ channels, channel_count }: ConnectionRow): string {
  if (channel_count === 0) return "no channel";
  const more = channel_count - channels.length;
  return channels.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

import { ago, amount, bytes, compact } from "../shared/format.ts";
import { container, element, setText, textElement } from "../shared/page.ts";
import { VirtualTable } from "../shared/virtual-table.ts";
import { disconnectUser, kick } from "./actions.ts";
import { type ChannelRow, call, type MemberRow } from "./api.ts";
import { buttons, text, twoLines } from "./cells.ts";
import { ChannelCharts } from "./channel-charts.ts";
import { History } from "./history.ts";
import { Inspector } from "./inspector.ts";

/** One channel: members and live messages. */
export class ChannelPage {
  readonly #table: VirtualTable<MemberRow>;
  readonly #inspector = new Inspector();
  readonly #history = new History();
  readonly #charts = new ChannelCharts();
  readonly #search = element("members-search", HTMLInputElement);
  #name = "";

  constructor() {
    this.#table = new VirtualTable<MemberRow>(element("members", HTMLElement), {
      label: "Members",
      empty: () => "No member on any server.",
      order: { sort: "user", order: "asc" },
      columns: [
        {
          title: "User",
          sort: "user",
          className: "wide-cell",
          fill: (cell, { user, address, connection }) => twoLines(cell, user, `${address}, ${connection}`),
        },
        {
          title: "Connection",
          className: "mono minor",
          fill: (cell, { connection, agent }) => {
            text(cell, connection);
            cell.title = `agent ${agent}`;
          },
        },
        { title: "Join ref", className: "mono minor least", fill: (cell, row) => text(cell, row.join_ref) },
        { title: "Address", className: "mono minor", fill: (cell, { address }) => text(cell, address) },
        { title: "Server", className: "minor least", fill: (cell, { server }) => text(cell, server) },
        {
          title: "Recovery",
          className: "minor least long",
          fill: (cell, { recovery }) => text(cell, recovery ?? ""),
        },
        { title: "Joined", className: "minor", fill: (cell, { since }) => text(cell, ago(since)) },
        {
          title: "Actions",
          className: "buttons needs-moderate",
          fill: (cell, member) => {
            const { user } = member;
            buttons(cell, [
              {
                title: "Kick",
                label: `Kick ${user}`,
                action: async () => {
                  await kick(this.#name, member);
                  this.refresh();
                },
              },
              {
                title: "Ban",
                label: `Ban ${user}`,
                action: async () => {
                  await disconnectUser(user, "10m");
                  this.refresh();
                },
              },
            ]);
          },
        },
      ],
      load: (offset, limit, { order }) => this.#load(offset, limit, order),
    });
    this.#search.addEventListener("input", () => this.#table.restart());
  }

  open(name: string): void {
    if (name !== this.#name) {
      this.#name = name;
      this.#search.value = "";
      setText(element("channel-name", HTMLElement), name);
      element("channel-facts", HTMLElement).replaceChildren();
      this.#table.restart();
    }
    this.#inspector.open(name);
    this.#history.open(name);
    this.#charts.open(name);
    this.refresh();
  }

  close(): void {
    this.#inspector.close();
    this.#charts.close();
  }

  refresh(): void {
    this.#charts.refresh();
    void this.#table.refresh();
  }

  async #load(offset: number, limit: number, order: "asc" | "desc") {
    const name = this.#name;
    const query = { search: this.#search.value, offset, limit, order };
    const answer = await call("GET api/channels/{name}", { path: name, query });
    if (name !== this.#name) return null;
    if (!answer.ok) {
      if (answer.status !== 404) return null;
      this.#facts(null);
      this.#history.refreshClosed();
      return { matching: 0, rows: [] };
    }
    this.#facts(answer.value);
    this.#history.refresh(answer.value.history !== null);
    return { matching: answer.value.matching, rows: answer.value.listed };
  }

  #facts(row: ChannelRow | null): void {
    setText(element("members-total", HTMLElement), amount(row?.members ?? 0));
    const facts: (readonly [string, string])[] =
      row === null
        ? [["State", "closed: no members"]]
        : [
            ["Members", amount(row.members)],
            ["Users", row.users === null ? "presence off" : amount(row.users)],
            ["Rate", `${compact(row.rate)}/s`],
            ["Sent", `${amount(row.sent)}, ${bytes(row.sent_bytes)}`],
            ...(row.left_out > 0 ? [["Left out for slow clients", amount(row.left_out)] as const] : []),
            ["Pushed", `${amount(row.pushed)}, ${bytes(row.pushed_bytes)}`],
            ["Last active", ago(row.last_active)],
            ...(row.history === null
              ? []
              : [
                  [
                    "History",
                    `${amount(row.history.messages)} of ${amount(row.history.limit)}, ${bytes(row.history.bytes)}`,
                  ] as const,
                ]),
            ...Object.entries(row.listeners)
              .filter(([protocol]) => protocol !== "phoenix")
              .map(([protocol, count]) => [`${protocol} members`, amount(count)] as const),
            ...Object.entries(row.recoveries).map(
              ([result, count]) => [`Recovery: ${result.replaceAll("_", " ")}`, amount(count)] as const,
            ),
          ];
    element("channel-facts", HTMLElement).replaceChildren(
      ...facts.map(([name, value]) =>
        container("div", "", textElement("dt", name), textElement("dd", value)),
      ),
    );
  }
}

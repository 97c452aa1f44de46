import { amount, bytes, compact, duration } from "../shared/format.ts";
import { container, element, setStatus, setText, textElement } from "../shared/page.ts";
import type { ServerRow } from "./api.ts";

const LEVELS: Readonly<Record<ServerRow["state"], "good" | "bad" | "waiting">> = {
  up: "good",
  draining: "waiting",
  silent: "bad",
  stopped: "waiting",
  dead: "bad",
};

/** The table of servers on the overview; hidden while there is only one. */
export class Servers {
  readonly #section = element("servers-section", HTMLElement);
  readonly #total = element("servers-total", HTMLElement);
  readonly #warning = element("servers-warning", HTMLElement);
  readonly #body = element("servers", HTMLTableSectionElement);

  update(servers: readonly ServerRow[]): void {
    this.#section.hidden = servers.length < 2;
    const up = servers.filter(isRunning);
    setText(
      this.#total,
      up.length === servers.length ? amount(up.length) : `${up.length} of ${servers.length} up`,
    );
    const warning = warningOf(servers);
    this.#warning.hidden = warning === "";
    setStatus(this.#warning, warning, "bad");
    this.#body.replaceChildren(...servers.map(rowOf));
  }
}

function isRunning({ state }: ServerRow): boolean {
  return state === "up" || state === "draining";
}

/** Servers of different versions, and servers that do not report. */
function warningOf(servers: readonly ServerRow[]): string {
  const versions = new Set(servers.filter(isRunning).map(({ version }) => version));
  const lost = servers.filter(({ state }) => state === "silent" || state === "dead").map(({ name }) => name);
  return [
    versions.size > 1 ? `Servers run different versions: ${[...versions].sort().join(", ")}.` : "",
    lost.length > 0 ? `Not reporting: ${lost.join(", ")}.` : "",
  ]
    .filter((text) => text !== "")
    .join(" ");
}

function rowOf(server: ServerRow): HTMLElement {
  const { name, incarnation, self, state, version, address, rates, lag } = server;
  const head = textElement("th", name);
  head.setAttribute("scope", "row");
  head.title = `${address}, incarnation ${incarnation}`;
  if (self) head.append(textElement("span", " this server", "quiet"));
  const shown = textElement("span", state, "state");
  shown.dataset.state = LEVELS[state];
  // The figures of a server that is gone are old.
  const figures = isRunning(server)
    ? [
        amount(server.connections),
        `${compact(rates.received)}/s`,
        `${compact(rates.delivered)}/s`,
        `${compact(rates.pushed)}/s`,
        `${Math.round(server.cpu * 100)} %`,
        bytes(server.memory),
        `${compact(server.loop_delay)} ms`,
        amount(server.gaps),
        lag === null ? "–" : amount(lag),
        duration(server.uptime * 1000),
      ]
    : Array.from({ length: 10 }, () => "–");
  const row = container(
    "tr",
    "",
    head,
    container("td", "", shown),
    textElement("td", version),
    ...figures.map((figure) => textElement("td", figure, "number")),
  );
  row.dataset.state = state;
  return row;
}

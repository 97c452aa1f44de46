import { amount, bytes, compact, delay, duration } from "../shared/format.ts";
import {
  container,
  element,
  makeScrollable,
  type StatusLevel,
  setStatus,
  setText,
  textElement,
} from "../shared/page.ts";
import type { ServerRow } from "./api.ts";

const LEVELS: Readonly<Record<ServerRow["state"] | "unknown", StatusLevel>> = {
  up: "good",
  draining: "waiting",
  silent: "bad",
  stopped: "waiting",
  dead: "bad",
  unknown: "unknown",
};

/** The table of servers on the overview. */
export class Servers {
  readonly #section = element("servers-section", HTMLElement);
  readonly #total = element("servers-total", HTMLElement);
  readonly #warning = element("servers-warning", HTMLElement);
  readonly #body = element("servers", HTMLTableSectionElement);
  readonly #alone = element("servers-alone", HTMLElement);
  #rows: readonly ServerRow[] = [];

  constructor() {
    makeScrollable(element("servers-scroll", HTMLElement), "Table of servers");
  }

  /** @param busLive without the bus, the reports of other servers do not arrive: their state is unknown */
  update(servers: readonly ServerRow[], busLive: boolean): void {
    this.#rows = servers;
    this.#section.hidden = false;
    this.#alone.hidden = servers.length > 1;
    const isKnown = ({ self }: ServerRow): boolean => self || busLive;
    const up = servers.filter((server) => isRunning(server) && isKnown(server));
    setText(
      this.#total,
      up.length === servers.length ? amount(up.length) : `${up.length} of ${servers.length} up`,
    );
    const warning =
      busLive || servers.length < 2
        ? warningOf(servers)
        : "The bus is down: the state of other servers is unknown.";
    this.#warning.hidden = warning === "";
    setStatus(this.#warning, warning, "bad");
    this.#body.replaceChildren(...servers.map((server) => rowOf(server, isKnown(server))));
  }

  /** No server answers: no state is known. */
  lost(): void {
    this.#body.replaceChildren(...this.#rows.map((server) => rowOf(server, false)));
    setText(this.#total, amount(this.#rows.length));
    this.#warning.hidden = true;
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

function rowOf(server: ServerRow, known: boolean): HTMLElement {
  const { name, incarnation, self, version, address, rates, lag } = server;
  const state = known ? server.state : "unknown";
  const head = textElement("th", name);
  head.setAttribute("scope", "row");
  head.title = `${address}, incarnation ${incarnation}`;
  if (self) head.append(textElement("span", " this server", "quiet"));
  const shown = textElement("span", state, "state");
  shown.dataset.state = LEVELS[state];
  // The figures of a server that does not report are old.
  const figures =
    isRunning(server) && known
      ? [
          amount(server.connections),
          `${compact(rates.received)}/s`,
          `${compact(rates.delivered)}/s`,
          `${compact(rates.pushed)}/s`,
          `${Math.round(server.cpu * 100)} %`,
          bytes(server.memory),
          delay(server.loop_delay),
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

import { amount, bytes, compact, delay, duration } from "../shared/format.ts";
import { container, element, makeScrollable, setStatus, setText, textElement } from "../shared/page.ts";
import { type BusAnswer, type BusNode, call, type ProcessRow } from "./api.ts";

/** The page of processes and Redis. */
export class System {
  readonly #processes = element("processes", HTMLTableSectionElement);
  readonly #total = element("processes-total", HTMLElement);
  readonly #warning = element("processes-warning", HTMLElement);
  readonly #state = element("bus-state", HTMLElement);
  readonly #reason = element("bus-reason", HTMLElement);
  readonly #nodes = element("bus-nodes", HTMLElement);
  #loading = false;

  constructor() {
    makeScrollable(element("processes-scroll", HTMLElement), "Table of processes");
  }

  async refresh(): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    await Promise.all([this.#loadProcesses(), this.#loadBus()]);
    this.#loading = false;
  }

  async #loadProcesses(): Promise<void> {
    const answer = await call("GET api/processes");
    this.#warning.hidden = answer.ok;
    if (!answer.ok) return setStatus(this.#warning, answer.error, "bad");
    const { processes, servers } = answer.value;
    const missing = servers.filter(({ ok }) => !ok).map(({ name }) => name);
    this.#warning.hidden = missing.length === 0;
    if (missing.length > 0) setStatus(this.#warning, `No answer from ${missing.join(", ")}.`, "bad");
    setText(this.#total, amount(processes.length));
    this.#processes.replaceChildren(...processes.map(rowOf));
  }

  async #loadBus(): Promise<void> {
    const answer = await call("GET api/bus");
    if (!answer.ok) return setStatus(this.#state, answer.error, "bad");
    this.#renderBus(answer.value);
  }

  #renderBus({ kind, live, detail, since, gaps, reason, nodes }: BusAnswer): void {
    setText(
      element("bus-title", HTMLElement),
      { redis: "Redis", amqp: "RabbitMQ", embedded: "Embedded bus" }[kind],
    );
    const lost = gaps > 0 ? `, gaps: ${amount(gaps)}` : "";
    const text = `${detail}, for ${duration(Date.now() - since)}${lost}`;
    if (this.#state.textContent !== text) setStatus(this.#state, text, live ? "good" : "bad");
    this.#reason.hidden = reason === null;
    setText(this.#reason, reason ?? "");
    this.#nodes.replaceChildren(...nodes.map((node) => nodeOf(node, nodes.length > 1)));
  }
}

function rowOf(row: ProcessRow): HTMLElement {
  const head = textElement("th", row.name);
  head.setAttribute("scope", "row");
  head.title = `incarnation ${row.incarnation}, Bun ${row.runtime}, ${row.platform}`;
  const bus = textElement("span", row.bus.live ? "up" : "down", "state");
  bus.dataset.state = row.bus.live ? "good" : "bad";
  bus.title = row.bus.detail;
  const { open, limit } = row.descriptors;
  const { rss, heap_used, external } = row.memory;
  const figures = [
    duration(row.uptime * 1000),
    `${Math.round(row.cpu * 100)} %`,
    delay(row.loop_delay),
    bytes(rss),
    bytes(heap_used),
    bytes(external),
    bytes(row.buffered),
    open === null ? "–" : `${amount(open)}${limit === null ? "" : ` of ${compact(limit)}`}`,
    amount(row.connections),
    String(row.pid),
  ];
  return container(
    "tr",
    "",
    head,
    container("td", "", bus),
    textElement("td", row.version),
    ...figures.map((figure) => textElement("td", figure, "number")),
  );
}

/** The figures of one Redis. */
function nodeOf({ where, ping_ms, info, output_buffer_limit }: BusNode, several: boolean): HTMLElement {
  const list = document.createElement("dl");
  list.className = "tiles";
  const tile = (name: string, value: string, note: string, level = ""): void => {
    const made = container(
      "div",
      "tile",
      textElement("dt", name),
      textElement("dd", value, "value"),
      textElement("dd", note, "note"),
    );
    made.dataset.state = level;
    list.append(made);
  };
  tile("Ping", ping_ms === null ? "–" : delay(ping_ms), "from this server");
  if (info === null) tile("Figures", "–", "the access list does not permit INFO");
  else infoTiles(info, tile);
  tile(
    "Subscriber buffer",
    output_buffer_limit === null ? "–" : output_buffer_limit === 0 ? "no limit" : bytes(output_buffer_limit),
    output_buffer_limit === null ? "CONFIG GET is not permitted" : "a slower subscriber is cut off",
  );
  return several ? container("div", "", textElement("h3", where, "mono"), list) : list;
}

function infoTiles(
  info: Readonly<Record<string, string>>,
  tile: (name: string, value: string, note: string, level?: string) => void,
): void {
  const number = (name: string): number => Number(info[name] ?? 0) || 0;
  const role = info.role ?? "unknown role";
  const version = info.valkey_version ?? info.redis_version ?? "–";
  const uptime = duration(number("uptime_in_seconds") * 1000);
  tile(
    "Version",
    version,
    `${role}, ${info.redis_mode ?? "unknown mode"}, up for ${uptime}`,
    role === "slave" ? "bad" : "",
  );
  const limit = number("maxmemory");
  tile(
    "Memory",
    bytes(number("used_memory")),
    `${limit === 0 ? "no limit" : `of ${bytes(limit)}`}, peak ${bytes(number("used_memory_peak"))}`,
    limit > 0 && number("used_memory") > 0.9 * limit ? "bad" : "",
  );
  tile(
    "Commands",
    `${compact(number("instantaneous_ops_per_sec"))}/s`,
    `in ${compact(number("instantaneous_input_kbps"))} KB/s, out ${compact(number("instantaneous_output_kbps"))} KB/s`,
  );
  tile(
    "Clients",
    amount(number("connected_clients")),
    `of ${amount(number("maxclients"))}, ${amount(number("blocked_clients"))} blocked, ${amount(number("rejected_connections"))} rejected`,
    number("rejected_connections") > 0 ? "bad" : "",
  );
  tile(
    "Evicted keys",
    amount(number("evicted_keys")),
    info.maxmemory_policy ?? "",
    number("evicted_keys") > 0 ? "bad" : "",
  );
  tile("Error replies", amount(number("total_error_replies")), "since Redis started");
}

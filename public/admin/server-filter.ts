import { element } from "../shared/page.ts";
import type { ServerResult } from "./api.ts";

/** Rows that a list over several servers can reach, as on the server. */
const MAX_DEPTH = 1000;

/** A choice between all servers and one of them; hidden where there is only one. */
export class ServerFilter {
  readonly #select: HTMLSelectElement;

  constructor(id: string) {
    this.#select = element(id, HTMLSelectElement);
  }

  /** The parameter of the list. */
  get query(): { readonly server?: string } {
    const { value } = this.#select;
    return value === "" ? {} : { server: value };
  }

  onChange(changed: () => void): void {
    this.#select.addEventListener("change", changed);
  }

  update(names: readonly string[]): void {
    const different = [...new Set(names)];
    const shown = [...this.#select.options].slice(1).map(({ value }) => value);
    this.#select.hidden = different.length < 2 && this.#select.value === "";
    if (different.join("\n") === shown.join("\n")) return;
    const chosen = this.#select.value;
    this.#select.replaceChildren(
      new Option("all servers", ""),
      ...different.map((name) => new Option(name, name)),
    );
    this.#select.value = different.includes(chosen) ? chosen : "";
  }
}

/** Names the servers whose rows are missing. */
export function missingNote(servers: readonly ServerResult[]): string {
  const missing = servers.filter(({ ok }) => !ok).map(({ name }) => name);
  return missing.length === 0 ? "" : ` (no answer: ${missing.join(", ")})`;
}

/** How many of the matching rows the list can show. */
export function reachable(matching: number, servers: readonly ServerResult[]): number {
  return servers.length > 1 ? Math.min(matching, MAX_DEPTH) : matching;
}

import * as z from "zod";
import { nameCovers } from "../../auth/claims.ts";
import type { JsonObject } from "../../auth/json-object.ts";
import type { Principal } from "../../auth/principal.ts";
import { Rejection } from "../../auth/rejection.ts";
import type { Fleet, Peer } from "../../fleet/fleet.ts";
import { type FleetRequests, MAX_ANSWER } from "../../fleet/fleet-requests.ts";
import type { Identity } from "../../hub/identity.ts";

/** Rows that a list over several servers can reach: each server sends as many. */
export const MAX_DEPTH = 1000;

/** How long other servers are waited for, in ms. */
const TIMEOUT = 1000;

/** Characters of the rows of one message between servers; the rest follows in further ones. */
const MAX_CHARACTERS = MAX_ANSWER - 64 * 1024;

/** The part of a query that every list has. `scope`: the channels that a key covers, `null` for all. */
export const ListQuery = z.object({
  offset: z.number().int().min(0),
  limit: z.number().int().min(0).max(MAX_DEPTH),
  scope: z.array(z.string()).nullable(),
});
export type ListQuery = z.infer<typeof ListQuery>;

/** Rows of one server; `total` and `matching` count all that it has. */
export interface ListPage<Row> {
  readonly total: number;
  readonly matching: number;
  readonly rows: readonly Row[];
  /** What the rows are part of, such as the channel of its members. */
  readonly head?: JsonObject | undefined;
}

/** What a server sent; `page` is `null` without a complete answer in time. */
export interface ServerPage<Row> {
  readonly name: string;
  readonly page: ListPage<Row> | null;
}

/** `GET` parameter: one server instead of all. */
export const ServerParameter = z
  .string()
  .max(255)
  .optional()
  .meta({ description: "Name or incarnation of one server; by default the list covers all." });

/** In the answers: whose rows they are. */
export const Servers = z
  .array(z.object({ name: z.string(), ok: z.boolean() }))
  .meta({ description: "`ok` is false for a server that did not answer within a second." });

export const SERVER_UNKNOWN = new Rejection(404, "server_unknown", "No server has this name or incarnation.");

export const TOO_DEEP = new Rejection(
  422,
  "too_deep",
  `Over several servers only the first ${MAX_DEPTH} rows are listed: search, or name a server.`,
);

export interface ListSpec<Query extends ListQuery, Row> {
  /** The kind of request. */
  readonly kind: string;
  readonly query: z.ZodType<Query>;
  readonly row: z.ZodType<Row>;
  /** The rows of this server. */
  local(query: Query): ListPage<Row>;
}

/** The servers that lists cover. */
export interface ListServers {
  readonly identity: Identity;
  /** `null` for a server that is alone. */
  readonly fleet: { readonly fleet: Fleet; readonly requests: FleetRequests } | null;
}

const Answer = z.object({
  total: z.number(),
  matching: z.number(),
  rows: z.array(z.unknown()),
  more: z.boolean(),
  head: z.record(z.string(), z.unknown()).optional(),
});

/** One list over all servers. */
export class FleetList<Query extends ListQuery, Row> {
  readonly #servers: ListServers;
  readonly #spec: ListSpec<Query, Row>;

  constructor(servers: ListServers, spec: ListSpec<Query, Row>) {
    this.#servers = servers;
    this.#spec = spec;
  }

  get kind(): string {
    return this.#spec.kind;
  }

  /** The answer to another server. Rows that do not fit are left out: the other asks for them. `null` for a bad query. */
  answer(body: JsonObject): JsonObject | null {
    const query = this.#spec.query.safeParse(body);
    if (!query.success) return null;
    const { total, matching, rows, head } = this.#spec.local(query.data);
    const fitting: Row[] = [];
    let characters = 0;
    for (const row of rows) {
      characters += JSON.stringify(row).length + 1;
      if (characters > MAX_CHARACTERS && fitting.length > 0) break;
      fitting.push(row);
    }
    const more = fitting.length < rows.length;
    return { total, matching, rows: fitting, more, ...(head === undefined ? {} : { head }) };
  }

  /**
   * The pages of all servers, or of those with this name or incarnation. With several, each has the first
   * `offset + limit` rows, to be merged; with one, exactly the rows asked for.
   */
  async gather(query: Query, server: string | undefined): Promise<readonly ServerPage<Row>[] | Rejection> {
    const { identity, fleet } = this.#servers;
    const isNamed = (name: string, incarnation: string): boolean =>
      server === undefined || server === name || server === incarnation;
    const peers = [...(fleet?.fleet.others.values() ?? [])].filter(
      ({ name, incarnation, report }) => !report.stopped && isNamed(name, incarnation),
    );
    const own = isNamed(identity.name, identity.incarnation);
    if (!own && peers.length === 0) return SERVER_UNKNOWN;
    const several = peers.length + (own ? 1 : 0) > 1;
    const depth = query.offset + query.limit;
    if (several && depth > MAX_DEPTH) return TOO_DEEP;
    const wanted = several ? { ...query, offset: 0, limit: depth } : query;
    const pages = await Promise.all(peers.map((peer) => this.#fetch(peer, wanted)));
    if (own) pages.unshift({ name: identity.name, page: this.#spec.local(wanted) });
    return pages;
  }

  async #fetch(peer: Peer, query: Query): Promise<ServerPage<Row>> {
    const { name } = peer;
    const deadline = performance.now() + TIMEOUT;
    const rows: Row[] = [];
    for (;;) {
      const { offset, limit } = query;
      const asked: JsonObject = { ...query, offset: offset + rows.length, limit: limit - rows.length };
      const left = deadline - performance.now();
      const [answer] = (await this.#servers.fleet?.requests.ask(this.kind, asked, [peer], left)) ?? [];
      const part = Answer.safeParse(answer?.body);
      const parsed = z.array(this.#spec.row).safeParse(part.data?.rows);
      if (!part.success || !parsed.success) return { name, page: null };
      rows.push(...parsed.data);
      const { total, matching, head, more } = part.data;
      if (!more || parsed.data.length === 0) return { name, page: { total, matching, rows, head } };
    }
  }
}

/** One list, created for all requests. */
export type AnyList = Pick<FleetList<ListQuery, unknown>, "kind" | "answer">;

/** The entries of an answer that say which servers it covers, by name. */
export function coverage(pages: readonly ServerPage<unknown>[]): { name: string; ok: boolean }[] {
  return pages
    .map(({ name, page }) => ({ name, ok: page !== null }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The sum of a number over the servers that answered. */
export function sumOf<Row>(
  pages: readonly ServerPage<Row>[],
  value: (page: ListPage<Row>) => number,
): number {
  return pages.reduce((sum, { page }) => sum + (page === null ? 0 : value(page)), 0);
}

/** The rows of all servers; of several, in order and cut to what was asked for. */
export function merge<Row>(
  pages: readonly ServerPage<Row>[],
  compare: (one: Row, other: Row) => number,
  { offset, limit }: { readonly offset: number; readonly limit: number },
): Row[] {
  const rows = pages.flatMap(({ page }) => page?.rows ?? []);
  return pages.length === 1 ? rows : rows.sort(compare).slice(offset, offset + limit);
}

/** The channels that a principal has access to; `null` for all. */
export function scopeOf(principal: Principal): string[] | null {
  if (principal.kind === "administrator" || principal.key.channels.includes("*")) return null;
  return [...principal.key.channels];
}

/** Whether a scope covers a channel, as `reaches` of its principal. */
export function inScope(scope: readonly string[] | null, channel: string): boolean {
  if (scope === null) return true;
  if (channel === "admin") return scope.includes("admin");
  return scope.some((name) => nameCovers(name, channel));
}

import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import type { Connection } from "../../hub/connection.ts";
import { paging, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import {
  coverage,
  FleetList,
  ListQuery,
  merge,
  SERVER_UNKNOWN,
  ServerParameter,
  Servers,
  sumOf,
  TOO_DEEP,
} from "./fleet-lists.ts";
import { type Operation, operation } from "./operation.ts";
import { byText, pageOf } from "./paginate.ts";
import { ALL_CHANNELS_NEEDED, ALL_CHANNELS_NOTE, reachesAll } from "./scope-rejections.ts";

/** Maximum number of users and channels listed per connection. */
const MAX_NAMES = 20;

const ConnectionRow = z
  .object({
    id: z.string(),
    protocol: z.string(),
    address: z.string(),
    users: z.array(z.string()).meta({ description: `At most ${MAX_NAMES}.` }),
    channels: z.array(z.string()).meta({ description: `At most ${MAX_NAMES}.` }),
    channel_count: z.number(),
    buffered: z.number().meta({ description: "Bytes buffered because the client reads slowly." }),
    opened_at: UnixMs,
    last_seen: UnixMs,
    server: z.string().meta({ description: "The name of its server." }),
  })
  .meta({ id: "Connection" });

const SORTS = ["opened_at", "buffered", "address", "id", "channels"] as const;

function comparison(sort: (typeof SORTS)[number], order: "asc" | "desc" | undefined) {
  const texts = sort === "address" || sort === "id";
  const turned = (order ?? (texts ? "asc" : "desc")) === "asc" ? 1 : -1;
  const byId = (a: Connection, b: Connection): number => byText(a.id, b.id);
  const compare = {
    opened_at: (a: Connection, b: Connection) => a.openedAt - b.openedAt,
    buffered: (a: Connection, b: Connection) => a.buffered() - b.buffered(),
    channels: (a: Connection, b: Connection) => a.channels.length - b.channels.length,
    address: (a: Connection, b: Connection) => byText(a.address, b.address),
    id: byId,
  }[sort];
  return (a: Connection, b: Connection) => turned * compare(a, b) || byId(a, b);
}

type Row = z.infer<typeof ConnectionRow>;

/** As `comparison`, of the rows of several servers. */
function rowComparison(sort: (typeof SORTS)[number], order: "asc" | "desc" | undefined) {
  const texts = sort === "address" || sort === "id";
  const turned = (order ?? (texts ? "asc" : "desc")) === "asc" ? 1 : -1;
  const compare = {
    opened_at: (a: Row, b: Row) => a.opened_at - b.opened_at,
    buffered: (a: Row, b: Row) => a.buffered - b.buffered,
    channels: (a: Row, b: Row) => a.channel_count - b.channel_count,
    address: (a: Row, b: Row) => byText(a.address, b.address),
    id: (a: Row, b: Row) => byText(a.id, b.id),
  }[sort];
  return (a: Row, b: Row) => turned * compare(a, b) || byText(a.id, b.id);
}

const Query = ListQuery.extend({
  search: z.string(),
  sort: z.enum(SORTS),
  order: z.enum(["asc", "desc"]).optional(),
  protocol: z.string().optional(),
});

/** The connections of all servers. */
export function connectionList({ hub, lists }: ApiDeps): FleetList<z.infer<typeof Query>, Row> {
  const { connections } = hub;
  const { identity } = lists;
  return new FleetList(lists, {
    kind: "list-connections",
    query: Query,
    row: ConnectionRow,
    local({ search, protocol, sort, order, offset, limit }) {
      const text = search.toLowerCase();
      const contains = (name: string): boolean => name.toLowerCase().includes(text);
      const wanted = (each: Connection): boolean =>
        (protocol === undefined || each.protocol === protocol) &&
        (text === "" ||
          contains(each.id) ||
          contains(each.address) ||
          each.users.some(contains) ||
          each.channels.some(contains));
      const page = pageOf(connections.all(), wanted, comparison(sort, order), offset, limit);
      const rows = page.rows.map((connection) => rowOf(connection, identity.name));
      return { total: connections.size, matching: page.matching, rows };
    },
  });
}

function rowOf(connection: Connection, server: string): Row {
  const { id, protocol, address, users, channels, openedAt, lastSeen } = connection;
  return {
    id,
    protocol,
    address,
    users: users.slice(0, MAX_NAMES),
    channels: channels.slice(0, MAX_NAMES),
    channel_count: channels.length,
    buffered: connection.buffered(),
    opened_at: openedAt,
    last_seen: Math.round(performance.timeOrigin + lastSeen),
    server,
  };
}

const CONNECTION_NOT_OPEN = new Rejection(404, "connection_not_open", "No open connection has this id.");

export function connectionOperations(
  { control }: ApiDeps,
  list: ReturnType<typeof connectionList>,
): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/connections",
      tag: "Monitoring",
      summary: "List open connections",
      description: `The search covers ids, addresses, users and channels. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      query: z.object({
        ...paging(100),
        sort: z.enum(SORTS).default("opened_at"),
        protocol: z.string().optional(),
        server: ServerParameter,
      }),
      answer: z.object({
        total: z.number(),
        matching: z.number(),
        connections: z.array(ConnectionRow),
        servers: Servers,
      }),
      exampleAnswer: {
        total: 1200,
        matching: 1,
        connections: [
          {
            id: "x7Kq2mPd",
            protocol: "phoenix",
            address: "192.0.2.7",
            users: ["alice"],
            channels: ["room:7"],
            channel_count: 1,
            buffered: 0,
            opened_at: 1_893_452_400_000,
            last_seen: 1_893_452_430_000,
            server: "hub-1",
          },
        ],
        servers: [{ name: "hub-1", ok: true }],
      },
      errors: [ALL_CHANNELS_NEEDED, SERVER_UNKNOWN, TOO_DEEP],
      async run({ query: { server, ...query }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const pages = await list.gather({ ...query, scope: null }, server);
        if (pages instanceof Rejection) return pages;
        return {
          total: sumOf(pages, ({ total }) => total),
          matching: sumOf(pages, ({ matching }) => matching),
          connections: merge(pages, rowComparison(query.sort, query.order), query),
          servers: coverage(pages),
        };
      },
    }),
    operation({
      method: "DELETE",
      path: "/api/connections/{id}",
      tag: "Actions",
      summary: "Close a connection",
      description:
        "On the server that has it. Its memberships end at once, the connection 2 to 5 s later (close code 1001). Most clients reconnect.",
      needs: "moderate",
      act: "disconnect",
      params: z.object({ id: z.string().meta({ examples: ["x7Kq2mPd"] }) }),
      answer: z.object({
        disconnected: z.number(),
        servers: z.array(z.object({ name: z.string(), ok: z.boolean(), disconnected: z.number() })),
      }),
      exampleAnswer: { disconnected: 1, servers: [{ name: "hub-1", ok: true, disconnected: 1 }] },
      errors: [ALL_CHANNELS_NEEDED, CONNECTION_NOT_OPEN],
      what: ({ path: { id } }) => ({ connection: id }),
      async run({ path: { id }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const done = await control.close(id);
        if (done === null) return CONNECTION_NOT_OPEN;
        const { count, servers } = done;
        return {
          disconnected: count,
          servers: servers.map(({ name, ok, count }) => ({ name, ok, disconnected: count })),
        };
      },
    }),
  ];
}

import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import type { Connection } from "../../hub/connection.ts";
import { paging, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { byText, pageOf } from "./paginate.ts";
import { FOR_ALL, notForAll, reachesAll } from "./scope-rejections.ts";

/** Names of one connection that are listed. */
const MAX_NAMES = 20;

const ConnectionRow = z
  .object({
    id: z.string(),
    protocol: z.string(),
    address: z.string(),
    users: z.array(z.string()).meta({ description: `At most ${MAX_NAMES}.` }),
    channels: z.array(z.string()).meta({ description: `At most ${MAX_NAMES}.` }),
    channel_count: z.number(),
    buffered: z.number().meta({ description: "Bytes that wait for it to read." }),
    opened_at: UnixMs,
    last_seen: UnixMs,
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

function rowOf(connection: Connection): z.infer<typeof ConnectionRow> {
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
  };
}

export function connectionOperations({ hub }: ApiDeps): Operation[] {
  const { connections } = hub;
  return [
    operation({
      method: "GET",
      path: "/api/connections",
      tag: "Watching",
      summary: "The open connections",
      description: `The search looks at ids, addresses, users and channels. ${FOR_ALL}`,
      needs: "read",
      query: z.object({
        ...paging(100),
        sort: z.enum(SORTS).default("opened_at"),
        protocol: z.string().optional(),
      }),
      answer: z.object({
        total: z.number(),
        matching: z.number(),
        connections: z.array(ConnectionRow),
      }),
      run({ query: { search, protocol, sort, order, offset, limit }, principal }) {
        if (!reachesAll(principal)) return notForAll();
        const text = search.toLowerCase();
        const holds = (name: string): boolean => name.toLowerCase().includes(text);
        const wanted = (each: Connection): boolean =>
          (protocol === undefined || each.protocol === protocol) &&
          (text === "" ||
            holds(each.id) ||
            holds(each.address) ||
            each.users.some(holds) ||
            each.channels.some(holds));
        const page = pageOf(connections.all(), wanted, comparison(sort, order), offset, limit);
        return {
          total: connections.size,
          matching: page.matching,
          connections: page.rows.map(rowOf),
        };
      },
    }),
    operation({
      method: "DELETE",
      path: "/api/connections/{id}",
      tag: "Acting",
      summary: "End a connection",
      description:
        "Its memberships end at once, the connection 2 to 5 s later (1001). Most clients come back.",
      needs: "moderate",
      act: "disconnect",
      params: z.object({ id: z.string() }),
      answer: z.object({ disconnected: z.number() }),
      refusals: { 404: "No such connection is open" },
      what: ({ path: { id } }) => ({ connection: id }),
      run({ path: { id }, principal }) {
        if (!reachesAll(principal)) return notForAll();
        const connection = connections.get(id);
        if (connection === undefined)
          return new Rejection(404, "connection_not_open", "No open connection has this id.");
        connection.dismiss(1001, "ended by an administrator");
        return { disconnected: 1 };
      },
    }),
  ];
}

import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { splitAgent } from "../../hub/agent-id.ts";
import type { Channel, Member } from "../../hub/channel.ts";
import type { Hub } from "../../hub/hub.ts";
import { ChannelName, paging } from "./api-schemas.ts";
import { type ChannelOrder, SORTS } from "./channel-order.ts";
import { ChannelRow, EXAMPLE_CHANNEL, type ChannelEntry as Row } from "./channel-row.ts";
import type { ApiDeps } from "./deps.ts";
import {
  coverage,
  FleetList,
  inScope,
  ListQuery,
  MAX_DEPTH,
  merge,
  SERVER_UNKNOWN,
  type ServerPage,
  ServerParameter,
  Servers,
  scopeOf,
  sumOf,
  TOO_DEEP,
} from "./fleet-lists.ts";
import { EXAMPLE_MEMBER, type MemberEntry, MemberRow } from "./member-row.ts";
import { type Operation, operation } from "./operation.ts";
import { byText, pageOf } from "./paginate.ts";
import { CHANNEL_NOT_ALLOWED, reaches } from "./scope-rejections.ts";
import { distinct, readSketch, Sketch } from "./sketch.ts";
import { sumRows } from "./sum-rows.ts";

const CHANNEL_NOT_OPEN = new Rejection(404, "channel_not_open", "No open channel has this name.");

function listeners({ receivers }: Channel): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { protocol, listeners } of receivers) {
    if (listeners > 0) counts[protocol] = (counts[protocol] ?? 0) + listeners;
  }
  return counts;
}

function historyOf({ name, history }: Channel, hub: Hub): Row["history"] {
  if (history === null || hub.history === null) return null;
  return { ...hub.history.sizeOf(name), limit: history.count };
}

function rowOf(channel: Channel, hub: Hub, now: number): Row {
  const { name, members, presence, traffic } = channel;
  return {
    name,
    members: members.size,
    users: presence?.users ?? null,
    listeners: listeners(channel),
    sent: traffic.sent,
    sent_bytes: traffic.sentBytes,
    left_out: traffic.leftOut,
    pushed: traffic.pushed,
    pushed_bytes: traffic.pushedBytes,
    rate: Math.round(traffic.rate(now) * 10) / 10,
    last_active: traffic.lastAt === 0 ? null : traffic.lastAt,
    history: historyOf(channel, hub),
    recoveries: channel.recoveries ?? {},
  };
}

function memberRow(member: Member, server: string): MemberEntry {
  const { agent, user, onlineAt, connection } = member;
  return {
    agent,
    connection: connection.id,
    join_ref: splitAgent(agent)?.joinRef ?? "",
    user,
    since: onlineAt,
    address: connection.address,
    recovery: member.recovery ?? null,
    server,
  };
}

export function channelOperations(
  order: ChannelOrder,
  channels: ReturnType<typeof channelList>,
  members: ReturnType<typeof memberList>,
): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/channels",
      tag: "Monitoring",
      summary: "List open channels",
      description:
        "Numbers are the sums of all servers. `sort=activity` is by rate and last message, with permanent and configured channels last. Over several servers, `total` and `matching` are estimates where there are more than 500 channels.",
      needs: "read",
      query: z.object({ ...paging(100), sort: z.enum(SORTS).default("name"), server: ServerParameter }),
      answer: z.object({
        total: z.number(),
        matching: z.number().meta({ description: "Number of channels that match the search." }),
        channels: z.array(ChannelRow),
        servers: Servers,
      }),
      exampleAnswer: {
        total: 40,
        matching: 1,
        channels: [EXAMPLE_CHANNEL],
        servers: [{ name: "hub-1", ok: true }],
      },
      errors: [SERVER_UNKNOWN, TOO_DEEP],
      async run({ query: { server, ...query }, principal }) {
        const scope = scopeOf(principal);
        const pages = await channels.gather({ ...query, scope, sketch: true }, server);
        if (pages instanceof Rejection) return pages;
        const servers = coverage(pages);
        const [first] = pages;
        if (pages.length === 1) {
          const { total = 0, matching = 0, rows = [] } = first?.page ?? {};
          return { total: scope === null ? total : matching, matching, channels: [...rows], servers };
        }
        const rows = await completeRows(channels, pages, { ...query, scope });
        const matching = distinct(pages.map(({ page }) => readSketch(page?.head)));
        const total = query.search === "" || scope !== null ? matching : sumOf(pages, (page) => page.total);
        const sorted = rows.sort(order.rows(query.sort, query.order));
        return {
          total: Math.max(total, matching),
          matching,
          channels: sorted.slice(query.offset, query.offset + query.limit),
          servers,
        };
      },
    }),
    operation({
      method: "GET",
      path: "/api/channels/{name}",
      tag: "Monitoring",
      summary: "Show a channel and its members",
      needs: "read",
      params: z.object({ name: ChannelName }),
      query: z.object({ ...paging(100), server: ServerParameter }),
      answer: ChannelRow.extend({ matching: z.number(), listed: z.array(MemberRow), servers: Servers }),
      exampleAnswer: {
        ...EXAMPLE_CHANNEL,
        matching: 1,
        listed: [EXAMPLE_MEMBER],
        servers: [{ name: "hub-1", ok: true }],
      },
      errors: [CHANNEL_NOT_ALLOWED, CHANNEL_NOT_OPEN, SERVER_UNKNOWN, TOO_DEEP],
      async run({ path: { name }, query: { server, ...query }, principal }) {
        if (!reaches(principal, name)) return CHANNEL_NOT_ALLOWED;
        const pages = await members.gather({ ...query, name, scope: null }, server);
        if (pages instanceof Rejection) return pages;
        const rows = pages.flatMap(({ page }) => {
          const row = ChannelRow.safeParse(page?.head);
          return row.success ? [row.data] : [];
        });
        const [row] = sumRows(rows);
        if (row === undefined) return CHANNEL_NOT_OPEN;
        return {
          ...row,
          matching: sumOf(pages, ({ matching }) => matching),
          listed: merge(pages, memberComparison(query.order), query),
          servers: coverage(pages),
        };
      },
    }),
  ];
}

const ChannelQuery = ListQuery.extend({
  search: z.string(),
  sort: z.enum(SORTS),
  order: z.enum(["asc", "desc"]).optional(),
  /** Only these. */
  names: z.array(z.string()).optional(),
  /** Whether the sketch of all names is wanted, which estimates how many different ones several servers have. */
  sketch: z.boolean().optional(),
});
type ChannelQuery = z.infer<typeof ChannelQuery>;

/** The channels of all servers, a row for each server that has one open. */
export function channelList({ hub, lists }: ApiDeps, orders: ChannelOrder): FleetList<ChannelQuery, Row> {
  return new FleetList(lists, {
    kind: "list-channels",
    query: ChannelQuery,
    row: ChannelRow,
    local({ search, sort, order, offset, limit, scope, names, sketch }) {
      const now = Date.now();
      const text = search.toLowerCase();
      const isWanted = ({ name }: Channel): boolean =>
        inScope(scope, name) && (text === "" || name.toLowerCase().includes(text));
      const hashes = new Sketch();
      const wanted = (channel: Channel): boolean => {
        const matches = isWanted(channel);
        if (matches && sketch === true) hashes.add(channel.name);
        return matches;
      };
      const named = names?.map((name) => hub.channels.get(name)).filter((each) => each !== undefined);
      const page = pageOf(
        named ?? hub.channels.values(),
        wanted,
        orders.channels(sort, order, now),
        offset,
        limit,
      );
      return {
        total: hub.channels.size,
        matching: page.matching,
        rows: page.rows.map((channel) => rowOf(channel, hub, now)),
        ...(sketch === true ? { head: { sketch: hashes.values } } : {}),
      };
    },
  });
}

const MemberQuery = ListQuery.extend({
  name: ChannelName,
  search: z.string(),
  order: z.enum(["asc", "desc"]).optional(),
});

/** The members of a channel on all servers; `head` is the row of the channel. */
export function memberList({ hub, lists }: ApiDeps): FleetList<z.infer<typeof MemberQuery>, MemberEntry> {
  const { identity } = lists;
  return new FleetList(lists, {
    kind: "list-members",
    query: MemberQuery,
    row: MemberRow,
    local({ name, search, order, offset, limit }) {
      const channel = hub.channels.get(name);
      if (channel === undefined) return { total: 0, matching: 0, rows: [] };
      const text = search.toLowerCase();
      const wanted = ({ user, connection }: Member): boolean =>
        text === "" || user.toLowerCase().includes(text) || connection.id.toLowerCase().includes(text);
      const page = pageOf(channel.members, wanted, memberComparison(order), offset, limit);
      return {
        total: channel.members.size,
        matching: page.matching,
        rows: page.rows.map((member) => memberRow(member, identity.name)),
        head: rowOf(channel, hub, Date.now()),
      };
    },
  });
}

function memberComparison(order: "asc" | "desc" | undefined) {
  const turned = order === "desc" ? -1 : 1;
  return (a: Pick<MemberEntry, "user" | "agent">, b: Pick<MemberEntry, "user" | "agent">) =>
    turned * (byText(a.user, b.user) || byText(a.agent, b.agent));
}

/** One row for each channel of the pages, with the numbers of all servers: also of those that did not list it. */
async function completeRows(
  channels: ReturnType<typeof channelList>,
  pages: readonly ServerPage<Row>[],
  query: ChannelQuery,
): Promise<Row[]> {
  const rows = pages.flatMap(({ page }) => page?.rows ?? []);
  const listed = sumRows(rows);
  const isComplete = pages.every(({ page }) => page === null || page.rows.length >= page.matching);
  if (isComplete || query.sort === "name") return listed;
  const names = listed.map(({ name }) => name).slice(0, MAX_DEPTH);
  const asked = await channels.gather({ ...query, offset: 0, limit: names.length, names }, undefined);
  return asked instanceof Rejection ? listed : sumRows(asked.flatMap(({ page }) => page?.rows ?? []));
}

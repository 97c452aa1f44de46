import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { splitAgent } from "../../hub/agent-id.ts";
import type { Channel, Member } from "../../hub/channel.ts";
import type { Hub } from "../../hub/hub.ts";
import { ChannelName, Counts, paging, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { byText, pageOf } from "./paginate.ts";
import { channelNotAllowed, reaches, reachesAll } from "./scope-rejections.ts";

const ChannelRow = z
  .object({
    name: z.string(),
    members: z.number().meta({ description: "Number of members (joins of Phoenix clients)." }),
    users: z.number().nullable().meta({ description: "Number of users present; null if presence is off." }),
    listeners: Counts.meta({ description: "Memberships and subscriptions, by protocol." }),
    sent: z.number().meta({ description: "Messages sent to clients since the channel was opened." }),
    sent_bytes: z.number(),
    left_out: z.number().meta({
      description:
        'Messages left out for clients that did not keep up (slow = "latest"), once for each client.',
    }),
    pushed: z.number().meta({ description: "Messages from members to backends." }),
    pushed_bytes: z.number(),
    rate: z.number().meta({ description: "Messages per second in both directions, since the last request." }),
    last_active: UnixMs.nullable(),
    history: z
      .object({ messages: z.number(), bytes: z.number(), limit: z.number() })
      .nullable()
      .meta({ description: "Kept messages, at most `limit`; null without history." }),
    recoveries: Counts.meta({
      description: "Members that asked for what they missed, by result: `recovered`, or why not.",
    }),
  })
  .meta({ id: "Channel" });

const MemberRow = z
  .object({
    agent: z
      .string()
      .meta({ description: "<connection>:<channel>:<join_ref>; a channel may contain colons." }),
    connection: z.string(),
    join_ref: z.string(),
    user: z.string(),
    since: UnixMs,
    address: z.string(),
    recovery: z.string().nullable().meta({
      description: "`recovered`, or why it did not get what it missed; null if it did not ask.",
    }),
  })
  .meta({ id: "Member" });

type Row = z.infer<typeof ChannelRow>;

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

function memberRow(member: Member): z.infer<typeof MemberRow> {
  const { agent, user, onlineAt, connection } = member;
  return {
    agent,
    connection: connection.id,
    join_ref: splitAgent(agent)?.joinRef ?? "",
    user,
    since: onlineAt,
    address: connection.address,
    recovery: member.recovery ?? null,
  };
}

const SORTS = ["name", "members", "rate", "messages", "last_active"] as const;

/** Default order: names ascending, numbers descending. Equal values are in order of name. */
function comparison(sort: (typeof SORTS)[number], order: "asc" | "desc" | undefined, now: number) {
  const turned = (order ?? (sort === "name" ? "asc" : "desc")) === "asc" ? 1 : -1;
  const byName = (a: Channel, b: Channel): number => byText(a.name, b.name);
  if (sort === "name") return (a: Channel, b: Channel) => turned * byName(a, b);
  const number = {
    members: (channel: Channel) => channel.members.size,
    rate: (channel: Channel) => channel.traffic.rate(now),
    messages: ({ traffic }: Channel) => traffic.sent + traffic.pushed,
    last_active: ({ traffic }: Channel) => traffic.lastAt,
  }[sort];
  return (a: Channel, b: Channel) => turned * (number(a) - number(b)) || byName(a, b);
}

export function channelOperations({ hub }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/channels",
      tag: "Monitoring",
      summary: "List open channels",
      needs: "read",
      query: z.object({ ...paging(100), sort: z.enum(SORTS).default("name") }),
      answer: z.object({
        total: z.number(),
        matching: z.number().meta({ description: "Number of channels that match the search." }),
        channels: z.array(ChannelRow),
      }),
      run({ query: { search, sort, order, offset, limit }, principal }) {
        const now = Date.now();
        const text = search.toLowerCase();
        const everything = reachesAll(principal);
        const wanted = ({ name }: Channel): boolean =>
          (everything || reaches(principal, name)) && (text === "" || name.toLowerCase().includes(text));
        const page = pageOf(hub.channels.values(), wanted, comparison(sort, order, now), offset, limit);
        return {
          total: everything ? hub.channels.size : page.matching,
          matching: page.matching,
          channels: page.rows.map((channel) => rowOf(channel, hub, now)),
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
      query: z.object(paging(100)),
      answer: ChannelRow.extend({ matching: z.number(), listed: z.array(MemberRow) }),
      errors: { 404: "The channel is not open" },
      run({ path: { name }, query: { search, order, offset, limit }, principal }) {
        if (!reaches(principal, name)) return channelNotAllowed();
        const channel = hub.channels.get(name);
        if (channel === undefined)
          return new Rejection(404, "channel_not_open", "No open channel has this name.");
        const text = search.toLowerCase();
        const wanted = ({ user, connection }: Member): boolean =>
          text === "" || user.toLowerCase().includes(text) || connection.id.toLowerCase().includes(text);
        const turned = order === "desc" ? -1 : 1;
        const page = pageOf(
          channel.members,
          wanted,
          (a, b) => turned * (byText(a.user, b.user) || byText(a.agent, b.agent)),
          offset,
          limit,
        );
        return {
          ...rowOf(channel, hub, Date.now()),
          matching: page.matching,
          listed: page.rows.map(memberRow),
        };
      },
    }),
  ];
}

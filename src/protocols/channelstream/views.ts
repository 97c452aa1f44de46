import type { ChannelstreamChannel } from "./channelstream-channel.ts";
import type { Engine } from "./engine.ts";
import type { InfoConfig } from "./schemas.ts";
import { printTimestamp } from "./timestamp.ts";

/** Channels and their users, as answers show them. */
export interface ChannelsInfo {
  readonly channels: Readonly<Record<string, ReturnType<typeof channelInfo>>>;
  readonly users: readonly { readonly user: string; readonly state: unknown }[];
}

/** @param names `null`: all that are open */
export function channelsInfo(
  { channels: open, users }: Engine,
  names: readonly string[] | null,
  config: InfoConfig,
): ChannelsInfo {
  const channels: [string, ReturnType<typeof channelInfo>][] = [];
  const present = new Set<string>();
  for (const name of new Set(names ?? open.keys())) {
    const channel = open.get(name);
    if (channel === undefined || config.exclude_channels.includes(name)) continue;
    const info = channelInfo(channel, config);
    channels.push([name, info]);
    for (const user of info.users) present.add(user);
  }
  return {
    // `fromEntries` treats `__proto__` as any other name.
    channels: Object.fromEntries(channels),
    users: [...present].map((name) => {
      const user = users.get(name);
      return { user: name, state: (config.return_public_state ? user?.publicState : user?.state) ?? {} };
    }),
  };
}

function channelInfo(
  channel: ChannelstreamChannel,
  config: { readonly include_history: boolean; readonly include_users: boolean },
) {
  const users = config.include_users ? [...channel.users.keys()].sort() : [];
  return {
    uuid: channel.uuid,
    name: channel.name,
    long_name: null,
    settings: channel.config,
    history: config.include_history ? channel.history.frames.map((frame) => frame.record) : [],
    last_active: printTimestamp(channel.lastActive),
    total_connections: channel.totalConnections,
    // Counted only if they are listed, as Channelstream does.
    total_users: users.length,
    users,
  };
}

/** `/admin/admin.json`. `startedAt` by `performance.now()`. */
export function adminInfo(engine: Engine, config: InfoConfig, startedAt: number, version: string) {
  const active = [...engine.users.values()].filter(({ listeners }) => listeners.size > 0);
  return {
    remembered_user_count: engine.users.size,
    unique_user_count: active.length,
    total_connections: engine.listeners.size,
    total_channels: engine.channels.size,
    total_messages: engine.dispatch.totals.messages,
    total_unique_messages: engine.dispatch.totals.unique,
    channels: channelsInfo(engine, null, config).channels,
    users: active.map(({ name, uuid, publicState, listeners }) => ({
      user: name,
      uuid,
      state: publicState,
      connections: [...listeners].map(({ id }) => id),
    })),
    uptime: printUptime(Math.floor((performance.now() - startedAt) / 1000)),
    version,
  };
}

/** As Python prints a time span: `1 day, 2:03:04`. */
function printUptime(seconds: number): string {
  const days = Math.floor(seconds / 86_400);
  const two = (part: number) => String(part).padStart(2, "0");
  const clock = `${Math.floor(seconds / 3600) % 24}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return days === 0 ? clock : `${days} day${days === 1 ? "" : "s"}, ${clock}`;
}

import { createHmac } from "node:crypto";
import type { Server, ServerWebSocket } from "bun";
import type { Redis } from "ioredis";

export interface Member {
  groups: Set<string>;
  /** Its channels, with the user that it is there. */
  readonly channels: Map<string, string>;
}

interface Channel {
  /** Each user's part of the state. */
  readonly users: Map<string, string>;
  joins: string[];
  leaves: string[];
  newcomers: ServerWebSocket<Member>[];
  timer: Timer | null;
}

/** As our server's `presence_window`. */
const WINDOW_MS = 50;

/**
 * The least that tokens and presence cost on top of the limit: a signature checked for each join, the join and each diff told
 * to Redis, one state for all who came within a window. Nothing is checked but the signature, the channel and the end.
 */
export function withPresence(server: Server<Member>, redis: Redis, secret: string) {
  const channels = new Map<string, Channel>();
  let count = 0;

  const tell = (name: string, channel: Channel): void => {
    channel.timer = null;
    const { joins, leaves, newcomers } = channel;
    channel.joins = [];
    channel.leaves = [];
    channel.newcomers = [];
    if (newcomers.length > 0) {
      const state = `["1",null,"${name}","presence_state",{${[...channel.users.values()].join(",")}}]`;
      for (const socket of newcomers) socket.send(state);
    }
    const diff = `{"joins":{${joins.join(",")}},"leaves":{${leaves.join(",")}}}`;
    server.publish(name, `[null,null,"${name}","presence_diff",${diff}]`);
    void redis.publish(`to:${name}:presence_diff`, diff);
    if (channel.users.size === 0) channels.delete(name);
  };

  return {
    /** `payload` is the text of a join's; whether the token in it is good. */
    join(socket: ServerWebSocket<Member>, name: string, payload: string, reply: string): boolean {
      const { token }: { token: string } = JSON.parse(payload);
      const [header, claims = "", signature] = token.split(".");
      const right = createHmac("sha256", secret).update(`${header}.${claims}`).digest("base64url");
      const said: { id: string; channel: string; exp: number } = JSON.parse(
        Buffer.from(claims, "base64url").toString(),
      );
      if (right !== signature || said.channel !== name || said.exp * 1000 < Date.now()) return false;
      void redis.publish(`from:${name}:phx_join`, "{}");
      let channel = channels.get(name);
      if (channel === undefined) {
        channel = { users: new Map(), joins: [], leaves: [], newcomers: [], timer: null };
        channels.set(name, channel);
      }
      const meta = `"${said.id}":{"metas":[{"phx_ref":"${++count}","online_at":"${Date.now()}"}]}`;
      channel.users.set(said.id, meta);
      channel.joins.push(meta);
      channel.newcomers.push(socket);
      socket.data.channels.set(name, said.id);
      socket.subscribe(name);
      socket.send(reply);
      const opened = channel;
      channel.timer ??= setTimeout(() => tell(name, opened), WINDOW_MS);
      return true;
    },
    close(socket: ServerWebSocket<Member>): void {
      for (const [name, user] of socket.data.channels) {
        const channel = channels.get(name);
        if (channel === undefined) continue;
        channel.leaves.push(channel.users.get(user) ?? "");
        channel.users.delete(user);
        void redis.publish(`from:${name}:phx_leave`, "{}");
        channel.timer ??= setTimeout(() => tell(name, channel), WINDOW_MS);
      }
    },
  };
}

/**
 * The least that the runtime can do: Bun.serve and ioredis, one Bun topic for each channel, frames by concatenation.
 * No check of any kind, no token, no presence. It is what our server is measured against, and no server for anyone:
 * it understands exactly what the load generator sends.
 */
import { parseArgs } from "node:util";
import type { ServerWebSocket } from "bun";
import { Redis } from "ioredis";
import { type Member, withPresence } from "./limit-presence.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    port: { type: "string", default: "0" },
    "redis-url": { type: "string" },
    presence: { type: "string" },
  },
});
const redisUrl = values["redis-url"];
if (redisUrl === undefined) throw new Error("limit.ts needs --redis-url");

const incoming = new Redis(redisUrl);
// Commands of one tick travel together: without it each publish is a write of its own, and no limit.
const outgoing = new Redis(redisUrl, { enableAutoPipelining: true });

/** Whether somebody has named groups: until then a message costs nothing more for them. */
let grouped = false;

/** Sockets that have sent an event to the others, by number. */
const cursors: ServerWebSocket<Member>[] = [];
const numbers = new Map<ServerWebSocket<Member>, number>();

/** Publishes an event for all members but the one that sent it. */
function share(socket: ServerWebSocket<Member>, channel: string, event: string, payload: string): void {
  let number = numbers.get(socket);
  if (number === undefined) {
    number = cursors.push(socket) - 1;
    numbers.set(socket, number);
  }
  void outgoing.publish(`others:${channel}:${event}`, `${number}\n${payload}`);
}

/** Event groups: `{"groups":{"<group>":[<entry>, ...]}}` names the whole set of a socket anew. */
function regroup(socket: ServerWebSocket<Member>, message: string): void {
  grouped = true;
  const wanted: { groups: Record<string, (string | number)[]> } = JSON.parse(message);
  const groups = new Set<string>();
  const names: string[] = [];
  for (const [group, entries] of Object.entries(wanted.groups)) {
    for (const entry of entries) {
      groups.add(`${group}:${entry}`);
      names.push(`${group}-${entry}`);
    }
  }
  for (const topic of groups) if (!socket.data.groups.has(topic)) socket.subscribe(topic);
  for (const topic of socket.data.groups) if (!groups.has(topic)) socket.unsubscribe(topic);
  socket.data.groups = groups;
  socket.send(JSON.stringify({ groups_current: names }));
}

const server = Bun.serve<Member>({
  hostname: "127.0.0.1",
  port: Number(values.port),
  development: false,
  fetch(request, server) {
    if (server.upgrade(request, { data: { groups: new Set(), channels: new Map() } })) return undefined;
    return new Response("WebSocket only", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    message(socket, message) {
      if (typeof message !== "string") return;
      if (message.startsWith("{")) {
        regroup(socket, message);
        return;
      }
      // ["<join_ref>","<ref>","<topic>","<event>",<payload>]
      const joinRef = message.indexOf('"', 2);
      const ref = message.indexOf('"', joinRef + 3);
      const topic = message.indexOf('"', ref + 3);
      const event = message.indexOf('"', topic + 3);
      const channel = message.slice(ref + 3, topic);
      const name = message.slice(topic + 3, event);
      const reply = `${message.slice(0, topic)}","phx_reply",{"status":"ok","response":{}}]`;
      if (name === "phx_join") {
        if (presence !== null) {
          if (!presence.join(socket, channel, message.slice(event + 2, -1), reply)) socket.close();
          return;
        }
        socket.subscribe(channel);
        socket.send(reply);
        return;
      }
      if (name === "cursor") share(socket, channel, name, message.slice(event + 2, -1));
      outgoing
        .publish(`from:${channel}:${name}`, message.slice(event + 2, -1))
        .then(() => socket.send(reply));
    },
    close(socket) {
      presence?.close(socket);
    },
  },
});

/** With the secret of their tokens it also looks at those who join, and tells them of each other. */
const presence = values.presence === undefined ? null : withPresence(server, outgoing, values.presence);

incoming.on("pmessage", (_pattern: string, name: string, payload: string) => {
  const colon = name.lastIndexOf(":");
  if (name.startsWith("others:")) {
    const end = payload.indexOf("\n");
    const channel = name.slice(7, colon);
    const frame = `[null,null,"${channel}","${name.slice(colon + 1)}",${payload.slice(end + 1)}]`;
    cursors[Number(payload.slice(0, end))]?.publish(channel, frame);
    return;
  }
  const channel = name.slice(3, colon);
  if (grouped) server.publish(name.slice(3), payload);
  else server.publish(channel, `[null,null,"${channel}","${name.slice(colon + 1)}",${payload}]`);
});

process.on("SIGTERM", () => process.exit(0));
await Promise.all([incoming.psubscribe("to:*", "others:*"), outgoing.ping()]);
console.error(JSON.stringify({ level: "info", message: "listening", url: server.url.href }));

import type { World } from "./world.ts";

/** Maximum number of channels that one connection follows. */
const EACH = 1000;

/**
 * Opens channels named `<stem>00000` and up by subscribing to the event `tick` of each, as event groups do. One
 * connection follows a thousand channels.
 */
export async function followMany(world: World, stem: string, count: number): Promise<WebSocket[]> {
  const sockets: WebSocket[] = [];
  const address = world.channel.url.replace("http", "ws");
  for (let from = 0; from < count; from += EACH) {
    const socket = new WebSocket(`${address}/groups?token=${world.token(`${stem}*`, { id: "follower" })}`);
    const groups: Record<string, string[]> = {};
    for (let i = from; i < Math.min(from + EACH, count); i++) {
      groups[stem + String(i).padStart(5, "0")] = ["tick"];
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => {
      if (String(data).includes('"accept":true')) socket.send(JSON.stringify({ groups }));
      else resolve();
    };
    await promise;
    sockets.push(socket);
  }
  return sockets;
}

import { type Encoder, Fanout } from "../../src/hub/fanout.ts";
import type { Message } from "../../src/hub/message.ts";
import type { CreateProtocol, ProtocolRoute } from "../../src/protocols/protocol.ts";
import { WebSocketClient } from "../../src/transports/websocket.ts";

const encoder: Encoder<Message> = {
  protocol: "toy",
  encode: ({ event, json }) => (json === null ? null : `${event} ${json}`),
};

/**
 * The smallest protocol: a socket at `/toy/<channel>` receives `<event> <payload>` of every message, and each frame it sends is
 * published as the event `said`. `GET /toy` returns the number of open sockets.
 */
export const createToy: CreateProtocol = ({ hub, context, fanouts }) => {
  const open = new Map<string, Fanout<Message>>();
  const count: ProtocolRoute = {
    handle: () =>
      Response.json({ sockets: [...open.values()].reduce((sum, each) => sum + each.listeners, 0) }),
  };

  function join(name: string, client: WebSocketClient): void {
    let fanout = open.get(name);
    if (fanout === undefined) {
      const channel = hub.open(name);
      fanout = new Fanout(`toy\u0000${name}`, encoder, hub.connections, fanouts);
      channel.addReceiver(fanout);
      open.set(name, fanout);
    }
    fanout.add(client);
  }

  function leave(name: string, client: WebSocketClient): void {
    const fanout = open.get(name);
    if (fanout === undefined) return;
    fanout.remove(client);
    if (!fanout.empty) return;
    const channel = hub.open(name);
    channel.removeReceiver(fanout);
    open.delete(name);
    hub.release(channel);
  }

  return {
    name: "toy",
    opensAt: (path) => path.startsWith("/toy/"),
    matches: ({ path }) => path.startsWith("/toy/"),
    accept({ path, id, address }) {
      const name = path.slice("/toy/".length);
      const client = new WebSocketClient(context, id, address);
      let joined = false;
      client.idleSince = null;
      client.session = {
        protocol: "toy",
        users: [],
        channels: [name],
        opened() {
          joined = true;
          join(name, client);
        },
        receive(frame) {
          hub.publish(name, "said", JSON.stringify(frame.toString()));
        },
        closed() {
          if (joined) leave(name, client);
          joined = false;
        },
      };
      return { client, subprotocol: "" };
    },
    routes: (path) => (path === "/toy" ? count : null),
  };
};

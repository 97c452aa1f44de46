import { Emitter } from "@socket.io/redis-emitter";
import type { Driver } from "../../../src/bench/driver.ts";
import { publication } from "../../../src/bench/publisher.ts";
import { Client, textFrame } from "../../../src/bench/websocket-client.ts";

/** Engine.IO's packets are text that begins with a digit: 0 opens, 4 is a message. */
const OPEN = 0x30;
const CONNECT = textFrame("40");
const OK = '"status":"ok"';

/** `430[{"status":...` answers packet 0; `42["message",...` is an event. */
const REPLY_MARK = 0x22;

/** What the emitter would send to Redis, in the adapter's own format. */
function emitted(topic: string, event: string, payload: unknown): { name: string; payload: Buffer } {
  let sent: { name: string; payload: Buffer } | null = null;
  const emitter = new Emitter({
    publish: (name: string, bytes: Uint8Array) => {
      sent = { name, payload: Buffer.from(bytes) };
    },
  });
  emitter.to(topic).emit(event, payload);
  if (sent === null) throw new Error("the emitter sent nothing");
  return sent;
}

/** Engine.IO 4 and Socket.IO 5 over a WebSocket, with rooms as topics; the server is `peers/socket-io.ts`. */
export const socketIo: Driver = {
  name: "socket.io",
  socketUrl(base) {
    const url = new URL(base);
    if (url.pathname === "/") url.pathname = "/socket.io/";
    url.searchParams.set("EIO", "4");
    url.searchParams.set("transport", "websocket");
    return url;
  },
  async connect(index, url) {
    const connected = Promise.withResolvers<Client>();
    await Client.connect(index, url, (client, bytes, start) => {
      if (bytes[start] === OPEN) client.send(CONNECT);
      else connected.resolve(client);
    });
    return connected.promise;
  },
  joinFrame: (topic, token) => textFrame(`420["join",${JSON.stringify({ channel: topic, token })}]`),
  isReply: (client) => client.mark === REPLY_MARK,
  isOk: (bytes, start, end) => bytes.subarray(start, end).includes(OK),
  pushFrame: (topic, event, payload) =>
    textFrame(`420["push",{"channel":"${topic}","event":"${event}","payload":${payload}}]`),
  answersPushes: true,
  publication(topic, event, payload, times) {
    // A number would travel in binary; digits can be overwritten in text only.
    const value: object = JSON.parse(payload.replace(/"sent":(\d+)/, '"sent":"$1"'));
    const { name, payload: bytes } = emitted(topic, event, value);
    return publication(name, bytes, times);
  },
  // `"` and `}` of the payload, `]` of the packet.
  bytesAfterStamp: 3,
};

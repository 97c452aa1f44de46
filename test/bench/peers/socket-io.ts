/**
 * What a Node developer would take: Socket.IO with its Redis adapter, a room for each channel, backends that speak through
 * the adapter's emitter, and `from:<channel>:<event>` for what clients say. It checks the token of a join; presence it has none.
 * Run by Node: node socket-io.mjs REDIS_URL SECRET
 */
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [redisUrl = "", secret = ""] = process.argv.slice(2);
const publisher = createClient({ url: redisUrl });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["websocket"],
  serveClient: false,
  // The generator answers no pings of Engine.IO; a run is shorter than this.
  pingInterval: 3_600_000,
});

/** Whether a token is signed with the secret and for this channel. */
function isGood(token: string, channel: string): boolean {
  const [header = "", claims = "", signature = ""] = token.split(".");
  const right = createHmac("sha256", secret).update(`${header}.${claims}`).digest("base64url");
  if (right !== signature) return false;
  const said: { channel?: unknown; exp?: unknown } = JSON.parse(Buffer.from(claims, "base64url").toString());
  return said.channel === channel && Number(said.exp) * 1000 > Date.now();
}

interface Join {
  readonly channel: string;
  readonly token: string;
}

interface Push {
  readonly channel: string;
  readonly event: string;
  readonly payload: unknown;
}

type Answer = (answer: { readonly status: string }) => void;

io.on("connection", (socket) => {
  socket.on("join", ({ channel, token }: Join, answer: Answer) => {
    if (!isGood(token, channel)) return answer({ status: "error" });
    socket.join(channel);
    answer({ status: "ok" });
  });
  socket.on("push", ({ channel, event, payload }: Push, answer: Answer) => {
    if (!socket.rooms.has(channel)) return answer({ status: "error" });
    publisher.publish(`from:${channel}:${event}`, JSON.stringify(payload)).then(
      () => answer({ status: "ok" }),
      () => answer({ status: "error" }),
    );
  });
});

process.on("SIGTERM", () => process.exit(0));
http.listen(0, "127.0.0.1", () => {
  const address = http.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  console.error(JSON.stringify({ message: "listening", url: `http://127.0.0.1:${address.port}/` }));
});

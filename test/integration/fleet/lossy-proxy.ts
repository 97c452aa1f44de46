import { connect, createServer, type Socket } from "node:net";

export type Direction = "up" | "down";

/** A TCP proxy in front of a Redis that can hold back what goes in one direction, as a network that lost half of its route. */
export interface LossyProxy {
  readonly port: number;
  readonly url: string;
  /** Nothing gets through in this direction, and nobody can connect, until `heal`. */
  lose(direction: Direction): void;
  heal(): void;
  stop(): Promise<void>;
}

export async function startLossyProxy(port: number): Promise<LossyProxy> {
  const pairs = new Set<{ readonly client: Socket; readonly redis: Socket }>();
  let lost: Direction | null = null;
  const server = createServer((client) => {
    const redis = connect({ host: "127.0.0.1", port });
    const pair = { client, redis };
    pairs.add(pair);
    client.on("data", (chunk) => redis.write(chunk));
    redis.on("data", (chunk) => client.write(chunk));
    // Nobody connects through half a route.
    if (lost !== null) for (const socket of [client, redis]) socket.pause();
    for (const [socket, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      socket.on("error", () => {});
      socket.on("close", () => {
        pairs.delete(pair);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const own = typeof address === "object" && address !== null ? address.port : 0;
  return {
    port: own,
    url: `redis://127.0.0.1:${own}`,
    lose(direction) {
      lost = direction;
      for (const { client, redis } of pairs) (direction === "up" ? client : redis).pause();
    },
    heal() {
      lost = null;
      for (const { client, redis } of pairs) for (const socket of [client, redis]) socket.resume();
    },
    stop() {
      for (const { client, redis } of pairs) for (const socket of [client, redis]) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

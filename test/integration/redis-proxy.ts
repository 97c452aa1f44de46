import { connect, createServer, type Socket } from "node:net";
import { Transform } from "node:stream";

/** A proxy to a Redis on this machine. */
export interface RedisProxy {
  readonly port: number;
  /** Closes the connections that sent PSUBSCRIBE. Returns how many. */
  cutSubscribers(): number;
  stop(): void;
}

/**
 * Starts a proxy to `port`. `resp2`: it changes the command `HELLO` into one that Redis does not know, as before Redis 6.
 */
export async function startRedisProxy(port: number, { resp2 = false } = {}): Promise<RedisProxy> {
  const subscribers = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ host: "127.0.0.1", port });
    const watch = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        if (chunk.includes("PSUBSCRIBE")) subscribers.add(near);
        done(null, resp2 ? withoutHello(chunk) : chunk);
      },
    });
    near.pipe(watch).pipe(far);
    far.pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    near.once("close", () => {
      subscribers.delete(near);
      far.destroy();
    });
    far.once("close", () => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    cutSubscribers() {
      const { size } = subscribers;
      for (const each of subscribers) each.destroy();
      return size;
    },
    stop: () => void server.close(),
  };
}

function withoutHello(chunk: Buffer): Buffer {
  const text = chunk.toString("latin1");
  return Buffer.from(text.replaceAll(/\$5\r\nhello\r\n/gi, "$6\r\nHELLO?\r\n"), "latin1");
}

import { connect, createServer, type Socket } from "node:net";

/** How often bytes are passed on, in ms: a client receives them at an even rate, however large the reads here are. */
const SLICE = 50;

/** A proxy that passes what the server sends at a limited rate: it reads no more than it passes on. */
export interface SlowLine {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Changes the rate, in bytes per second; infinite: no limit, 0: nothing is read. */
  setRate(rate: number): void;
  stop(): void;
}

/** @param rate bytes per second from the server to each client */
export async function startSlowLine(target: string, rate: number): Promise<SlowLine> {
  let current = rate;
  const { port, hostname } = new URL(target);
  const wakes = new Map<readonly [near: Socket, far: Socket], () => void>();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    const pair = [near, far] as const;
    /** What was read of the server and waits for the line. */
    let waiting: Buffer = Buffer.alloc(0);
    let timer: Timer | null = null;
    let passedAt = 0;
    const pass = () => {
      timer = null;
      if (current === 0) return;
      const now = performance.now();
      // A timer may be late.
      const size = (current * Math.min(Math.max(now - passedAt, SLICE), 1000)) / 1000;
      passedAt = now;
      const slice = waiting.subarray(0, size);
      waiting = waiting.subarray(slice.length);
      if (slice.length > 0) near.write(slice);
      if (slice.length > 0 && current !== Number.POSITIVE_INFINITY) timer = setTimeout(pass, SLICE);
      else far.resume();
    };
    wakes.set(pair, () => {
      if (timer === null) pass();
    });
    far.on("data", (data: Buffer) => {
      if (current !== Number.POSITIVE_INFINITY) far.pause();
      // More may have been read before the pause took effect.
      waiting = Buffer.concat([waiting, data]);
      if (timer === null) pass();
    });
    near.on("data", (data: Buffer) => far.write(data));
    const end = () => {
      wakes.delete(pair);
      if (timer !== null) clearTimeout(timer);
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) {
      socket.on("error", end);
      socket.on("close", end);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    setRate: (next) => {
      current = next;
      for (const wake of wakes.values()) wake();
    },
    stop: () => {
      for (const pair of wakes.keys()) for (const socket of pair) socket.destroy();
      server.close();
    },
  };
}

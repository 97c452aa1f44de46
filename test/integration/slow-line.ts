import { connect, createServer, type Socket } from "node:net";

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
    /** When the line is free again. */
    let freeAt = 0;
    let timer: Timer | null = null;
    const resume = () => {
      timer = null;
      const wait = freeAt - performance.now();
      if (current === 0) return;
      if (current !== Number.POSITIVE_INFINITY && wait > 0) timer = setTimeout(resume, wait);
      else far.resume();
    };
    wakes.set(pair, () => {
      if (timer !== null) clearTimeout(timer);
      freeAt = 0;
      resume();
    });
    far.on("data", (data: Buffer) => {
      near.write(data);
      if (current === Number.POSITIVE_INFINITY) return;
      far.pause();
      freeAt = Math.max(freeAt, performance.now()) + (data.length / current) * 1000;
      resume();
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

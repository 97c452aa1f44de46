import { connect, createServer, type Socket } from "node:net";

/** A connection between clients and the server whose quality a test decides about. */
export interface Line {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  /** When each connection was opened (`performance.now()`), and the first line that the client sent over it. */
  readonly attempts: readonly Attempt[];
  /** Passes nothing in either direction without closing; then continues where it stopped. */
  stall(): void;
  resume(): void;
  /** Cuts all connections. */
  cut(): void;
  /** Cuts connections that ask for an upgrade, as a proxy that knows no WebSocket does. */
  refuseUpgrades(yes: boolean): void;
  /** Swallows what is sent over WebSockets once they are open, in both directions, as some middleboxes do. */
  muteWebSockets(yes: boolean): void;
  /** Leads to another port from now on. */
  aim(port: number): void;
  stop(): void;
}

export interface Attempt {
  readonly at: number;
  request: string;
}

/** @param adds headers that the first request of each connection gets on its way, as a proxy's `X-Forwarded-For` */
export async function startLine(target: number, adds: Readonly<Record<string, string>> = {}): Promise<Line> {
  let aimed = target;
  let stalled = false;
  let refusing = false;
  let muting = false;
  const pairs = new Set<readonly [Socket, Socket]>();
  const attempts: Attempt[] = [];
  const server = createServer((near) => {
    const attempt: Attempt = { at: performance.now(), request: "" };
    attempts.push(attempt);
    let upgrades = false;
    const far = connect(aimed, "127.0.0.1");
    const pair = [near, far] as const;
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    near.on("data", (data: Buffer) => {
      const first = attempt.request === "";
      if (first) {
        attempt.request = data.toString("latin1").split("\r\n")[0] ?? "";
        upgrades = /\r\nupgrade: *websocket/i.test(data.toString("latin1"));
        if (refusing && upgrades) return end();
      } else if (muting && upgrades) return;
      far.write(first ? withHeaders(data, adds) : data);
    });
    far.on("data", (data: Buffer) => near.write(data));
    for (const socket of pair) {
      socket.on("error", end);
      socket.on("close", end);
      if (stalled) socket.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const each = (act: (socket: Socket) => void) => {
    for (const pair of pairs) for (const socket of pair) act(socket);
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    attempts,
    stall: () => {
      stalled = true;
      each((socket) => socket.pause());
    },
    resume: () => {
      stalled = false;
      each((socket) => socket.resume());
    },
    cut: () => each((socket) => socket.destroy()),
    refuseUpgrades: (yes) => {
      refusing = yes;
    },
    muteWebSockets: (yes) => {
      muting = yes;
    },
    aim: (to) => {
      aimed = to;
    },
    stop: () => {
      each((socket) => socket.destroy());
      server.close();
    },
  };
}

function withHeaders(request: Buffer, adds: Readonly<Record<string, string>>): Buffer {
  const at = request.indexOf("\r\n");
  const lines = Object.entries(adds).map(([name, value]) => `\r\n${name}: ${value}`);
  return Buffer.concat([request.subarray(0, at), Buffer.from(lines.join("")), request.subarray(at)]);
}

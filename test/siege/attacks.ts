import { mint } from "../integration/phoenix-client.ts";
import { frame, type Line, openLine, openSocket, request, text } from "./line.ts";

const MIB = 1024 * 1024;
const SOCKET = "/websocket?vsn=2.0.0";

/** What an attacker knows. */
export interface Target {
  readonly port: number;
  /** Of the bus, where the attack is on it. */
  readonly busPort: number;
  /** Mints tokens that a service would give to any client: the attacker does not have the secret. */
  readonly secret: string;
  /** The room of the honest clients. */
  readonly room: string;
  /** `performance.now()`. */
  readonly until: number;
}

export interface Attack {
  readonly name: string;
  /** What it does, for the table. */
  readonly title: string;
  /** Whether the server is its own bus, and the attacker a process of the same machine. */
  readonly embedded?: boolean;
  /** Bytes that the runtime buffers and the server cannot count: `limits.max_connections_per_ip` alone bounds them. */
  readonly unseen?: number;
  run(target: Target): Promise<void>;
}

/** Pause before a refused client tries again, in ms. */
const RETRY = 50;

/** Runs `once` repeatedly until the end, `count` at a time. */
async function inParallel(
  count: number,
  target: Target,
  once: (index: number) => Promise<void>,
): Promise<void> {
  const one = async (index: number): Promise<void> => {
    while (performance.now() < target.until) {
      await once(index);
      await Bun.sleep(0);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
}

/** A socket that sends as fast as it can until it is closed. */
async function flood(
  target: Target,
  path: string,
  next: (count: number) => Buffer,
  first?: Buffer,
): Promise<void> {
  const line = await openSocket(target.port, path);
  if (line === null) return Bun.sleep(RETRY);
  if (first !== undefined) await line.write(first);
  for (let count = 0; !line.over && performance.now() < target.until; count++) await line.write(next(count));
  line.cut();
}

async function hold(target: Target, line: Line): Promise<void> {
  while (!line.over && performance.now() < target.until) await Bun.sleep(RETRY);
  line.cut();
}

const group = (from: number): Buffer =>
  text(JSON.stringify({ groups: { job_events: Array.from({ length: 1000 }, (_, i) => from + i) } }));

const large = text(`["1","1","phoenix","phx_join",{"fill":"${"x".repeat(200_000)}"}]`);
const heartbeat = text('[null,"1","phoenix","heartbeat",{}]');
const garbage = text('{"not":["a",{"frame":'.repeat(20));
const nested = text("[".repeat(500_000));
const sized = "f".repeat(900_000);

/** Every attack. Add an entry to add one. */
export const attacks: readonly Attack[] = [
  {
    name: "phoenix-joins",
    title: "8 sockets join `phoenix` with 200 KB payloads",
    run: (target) => inParallel(8, target, () => flood(target, SOCKET, () => large)),
  },
  {
    name: "poll-bodies",
    title: "40 parallel POSTs of 900 KB to one poll session, and 40 of 16.9 MB that never end",
    async run(target) {
      const session = async (): Promise<string> => {
        const { text } = await request(target.port, "/longpoll?vsn=2.0.0");
        return /"token":"([^"]+)"/.exec(text)?.[1] ?? "";
      };
      let token = await session();
      const posts = inParallel(40, target, async () => {
        const path = `/longpoll?vsn=2.0.0&token=${encodeURIComponent(token)}`;
        const { text } = await request(target.port, path, { method: "POST", body: sized });
        if (!text.includes("200")) {
          await Bun.sleep(RETRY);
          token = await session();
        }
      });
      const unfinished = inParallel(40, target, async () => {
        const line = await openLine(target.port);
        if (line === null) return Bun.sleep(RETRY);
        const path = `/longpoll?vsn=2.0.0&token=${encodeURIComponent(token)}`;
        await line.write(
          `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 198.51.100.7\r\nContent-Length: 17720934\r\n\r\n`,
        );
        for (let i = 0; i < 17 && !line.over && performance.now() < target.until; i++)
          await line.write(sized);
        await Bun.sleep(RETRY);
        line.cut();
      });
      await Promise.all([posts, unfinished]);
    },
  },
  {
    name: "half-messages",
    title: "300 sockets send all but the end of a message of 1 MiB, and answer pings",
    unseen: 300 * MIB,
    run: (target) =>
      inParallel(300, target, async () => {
        const line = await openSocket(target.port, SOCKET);
        if (line === null) return Bun.sleep(RETRY);
        await line.write(frame(1, Buffer.alloc(MIB - 16, "h"), false));
        await hold(target, line);
      }),
  },
  {
    name: "channel-names",
    title: "20 sockets join and leave channels with names of 255 bytes",
    run: (target) => {
      const token = mint({ id: "mallory", channels: ["n*"] }, target.secret);
      const name = (index: number): string => `n${`${index}`.padStart(254, "n")}`;
      return inParallel(20, target, (socket) =>
        flood(target, SOCKET, (count) => {
          // Half of a hundred stay, so that every event names a thousand.
          const index = socket * 100 + (Math.floor(count / 2) % 90);
          if (count < 100 || count % 2 === 0)
            return text(`["${count}","${count}","${name(index)}","phx_join",{"token":"${token}"}]`);
          return text(`["${count - 1}","${count}","${name(index)}","phx_leave",{}]`);
        }),
      );
    },
  },
  {
    name: "presence-churn",
    title: "50 sockets join and leave the room of the honest clients",
    run: (target) => {
      const token = mint({ id: "mallory", channel: target.room }, target.secret);
      return inParallel(50, target, () =>
        flood(target, SOCKET, (count) =>
          count % 2 === 0
            ? text(`["${count}","${count}","${target.room}","phx_join",{"token":"${token}"}]`)
            : text(`["${count - 1}","${count}","${target.room}","phx_leave",{}]`),
        ),
      );
    },
  },
  {
    name: "group-swaps",
    title: "4 sockets swap 1,000 groups for 1,000 others",
    run: (target) => {
      const frames = [group(0), group(1000)];
      const token = mint({ id: "mallory", channels: ["*"] }, target.secret);
      return inParallel(4, target, () =>
        flood(target, `/groups?token=${token}`, (count) => frames[count & 1] ?? heartbeat),
      );
    },
  },
  {
    name: "nested",
    title: "8 sockets of Phoenix and of groups send 500 KB of `[`",
    run: (target) => {
      const token = mint({ id: "mallory", channels: ["*"] }, target.secret);
      const paths = [SOCKET, `/groups?token=${token}`];
      return inParallel(8, target, (index) => flood(target, paths[index & 1] ?? SOCKET, () => nested));
    },
  },
  {
    name: "admin-guesses",
    title: "40 connections guess the admin secret: Bearer, cookies, joins of `admin`",
    run: (target) =>
      inParallel(40, target, async (index) => {
        const guess = `guess-${index}-${Math.random()}-${"g".repeat(20)}`;
        if (index < 15) {
          await request(target.port, "/api/bans", { headers: { authorization: `Bearer ${guess}` } });
        } else if (index < 30) {
          const cookie = mint({ id: "admin", channel: "admin" }, guess);
          await request(target.port, "/api/bans", { headers: { cookie: `channel_admin=${cookie}` } });
        } else {
          const token = mint({ id: "admin", channel: "admin" }, guess);
          const join = text(`["1","1","admin","phx_join",{"token":"${token}"}]`);
          await flood({ ...target, until: performance.now() + 200 }, SOCKET, () => join);
        }
      }),
  },
  {
    name: "token-requests",
    title: "40 connections ask for tokens, half of them with 100 KB of nested JSON",
    run: (target) =>
      inParallel(40, target, async (index) => {
        const body = index % 2 === 0 ? "[".repeat(100_000) : '{"channel":"own"}';
        const headers = { "content-type": "application/json" };
        await request(target.port, "/token", { method: "POST", headers, body });
      }),
  },
  {
    name: "connections",
    title: "50 at a time connect, upgrade and vanish",
    run: (target) =>
      inParallel(50, target, async () => {
        const line = await openSocket(target.port, SOCKET);
        line?.cut();
      }),
  },
  {
    name: "poll-sessions",
    title: "50 at a time open poll sessions and forget them",
    run: (target) =>
      inParallel(50, target, async () => void (await request(target.port, "/longpoll?vsn=2.0.0"))),
  },
  {
    name: "malformed",
    title: "20 sockets send text that is no frame",
    run: (target) => inParallel(20, target, () => flood(target, SOCKET, () => garbage)),
  },
  {
    name: "unread-answers",
    title: "50 sockets send heartbeats and never read",
    run: (target) =>
      inParallel(50, target, async () => {
        const line = await openSocket(target.port, SOCKET);
        if (line === null) return Bun.sleep(RETRY);
        line.socket.pause();
        while (!line.over && performance.now() < target.until) await line.write(heartbeat);
        line.cut();
      }),
  },
  {
    name: "bus-patterns",
    title: "8 connections to the embedded bus: patterns `*a*a*...b`, long names, tiny strings",
    embedded: true,
    run: (target) =>
      inParallel(8, target, async (index) => {
        const line = await openLine(target.busPort);
        if (line === null) return Bun.sleep(RETRY);
        const command = (...words: string[]): string =>
          `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
        const pattern = `${"*a".repeat(400)}*b`;
        for (let i = 0; !line.over && performance.now() < target.until; i++) {
          if (index < 3) await line.write(command("PSUBSCRIBE", `${pattern}${i}`));
          else if (index < 6) await line.write(command("PUBLISH", "a".repeat(60_000), "x"));
          else await line.write(command("SUBSCRIBE", ...Array.from({ length: 1000 }, (_, n) => `${i}-${n}`)));
        }
        line.cut();
      }),
  },
];

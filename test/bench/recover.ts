/**
 * `npm run bench:recover`: 10,000 clients of 1,000 channels lose their server and come to the other one at once, where each
 * gets the 100 messages that it missed. Prints how long that takes, what it costs, and what was lost.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cpuMs } from "../../src/bench/process-times.ts";
import { Client, textFrame } from "../../src/bench/websocket-client.ts";
import { startRedis } from "../integration/redis-process.ts";
import { launch, type RunningServer, SECRET } from "./servers.ts";
import { mint } from "./tokens.ts";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "10000" },
    channels: { type: "string", default: "1000" },
    messages: { type: "string", default: "100" },
    rounds: { type: "string", default: "3" },
  },
});
const CLIENTS = Number(values.clients);
const CHANNELS = Number(values.channels);
const MESSAGES = Number(values.messages);

/** Clients that connect at the same time: the listen queue of a server has no place for all. */
const CONCURRENCY = 500;
const PATIENCE_MS = 120_000;

const BINARY = process.env.CHANNEL_BIN ?? join(import.meta.dir, "../../dist/channel");
const NUMBER = Buffer.from('"n":');
const REF = /^\[[^,]*,"([^"]*-\d+)"/;
const POSITION = /"position":"([^"]+)","recovered":(\w+)/;

/** A client that counts what it gets: numbers from 1. */
interface Member {
  readonly topic: string;
  readonly token: string;
  position: string | null;
  recovered: string;
  last: number;
  wrong: number;
}

function read(member: Member, bytes: Buffer, start: number, end: number): void {
  const at = bytes.indexOf(NUMBER, start);
  if (at >= 0 && at < end) {
    let number = 0;
    for (let i = at + NUMBER.length; i < end; i++) {
      const digit = (bytes[i] ?? 0) - 48;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
    }
    if (number !== member.last + 1) member.wrong++;
    member.last = number;
    member.position = REF.exec(bytes.toString("latin1", start, at))?.[1] ?? member.position;
    return;
  }
  const [, position, recovered] = POSITION.exec(bytes.toString("latin1", start, end)) ?? [];
  if (position === undefined || recovered === undefined) return;
  member.position = position;
  member.recovered = recovered;
}

async function connectAndJoin(server: RunningServer, members: readonly Member[]): Promise<Client[]> {
  const url = new URL(`${server.url}/websocket?vsn=2.0.0`);
  const clients: Client[] = [];
  let next = 0;
  const one = async (): Promise<void> => {
    for (let i = next++; i < members.length; i = next++) {
      const member = members[i];
      if (member === undefined) return;
      const client = await Client.connect(i, url, (_client, bytes, start, end) =>
        read(member, bytes, start, end),
      );
      const { topic, token, position } = member;
      const payload = JSON.stringify({ token, recover: position });
      client.send(textFrame(`["1","1","${topic}","phx_join",${payload}]`));
      clients.push(client);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, one));
  return clients;
}

async function until(what: string, done: () => boolean): Promise<void> {
  const giveUp = performance.now() + PATIENCE_MS;
  while (!done()) {
    if (performance.now() > giveUp) return console.error(`not within ${PATIENCE_MS / 1000} s: ${what}`);
    await Bun.sleep(5);
  }
}

async function publish(redis: Bun.RedisClient, from: number, to: number): Promise<void> {
  for (let number = from; number <= to; number++) {
    const sent: Promise<unknown>[] = [];
    for (let i = 0; i < CHANNELS; i++) {
      sent.push(redis.send("PUBLISH", [`to:room-${i}:news`, `{"n":${number},"text":"${"x".repeat(80)}"}`]));
    }
    await Promise.all(sent);
  }
}

async function round(): Promise<Record<string, number>> {
  const redis = await startRedis();
  const start = (): Promise<RunningServer> =>
    launch(
      [
        ...[BINARY, "serve", "--port", "0", "--redis-url", redis.url, "--jwt-secret", SECRET],
        ...["--log-format", "json", "--config", join(import.meta.dir, "history.toml")],
      ],
      { env: {} },
    );
  const [first, second] = [await start(), await start()];
  const backend = new Bun.RedisClient(redis.url);
  try {
    const members = Array.from({ length: CLIENTS }, (_, i): Member => {
      const topic = `room-${i % CHANNELS}`;
      const token = mint(SECRET, `user-${i}`, topic);
      return { topic, token, position: null, recovered: "", last: 0, wrong: 0 };
    });
    await connectAndJoin(first, members);
    await until("all have joined", () => members.every(({ position }) => position !== null));
    await publish(backend, 1, 1);
    await until("all get the first message", () => members.every(({ last }) => last === 1));
    process.kill(first.pid, "SIGKILL");
    await publish(backend, 2, MESSAGES + 1);
    await Bun.sleep(1000);
    const cpu = cpuMs(second.pid);
    const beganAt = performance.now();
    const clients = await connectAndJoin(second, members);
    const connectedMs = performance.now() - beganAt;
    await until("all have caught up", () => members.every(({ last }) => last > MESSAGES));
    const ms = performance.now() - beganAt;
    await Bun.sleep(500);
    const serverMs = cpuMs(second.pid) - cpu;
    await publish(backend, MESSAGES + 2, MESSAGES + 2);
    await until("all are live", () => members.every(({ last }) => last === MESSAGES + 2));
    const figures = {
      seconds: Number((ms / 1000).toFixed(2)),
      connected: Number((connectedMs / 1000).toFixed(2)),
      cpuUsEach: Math.round((serverMs * 1000) / CLIENTS),
      cpuUsMessage: Number(((serverMs * 1000) / CLIENTS / MESSAGES).toFixed(2)),
      recovered: members.filter(({ recovered }) => recovered === "true").length,
      lost: members.reduce((sum, { wrong, last }) => sum + wrong + (MESSAGES + 2 - last), 0),
    };
    for (const client of clients) client.end();
    return figures;
  } finally {
    backend.close();
    await Promise.all([first.stop(), second.stop()]);
    await redis.stop();
  }
}

for (let i = 0; i < Number(values.rounds); i++) console.log(await round());
process.exit(0);

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Latency } from "../../src/bench/latency.ts";
import { cpuMs } from "../../src/bench/process-times.ts";
import { startChannel } from "../integration/channel-process.ts";
import { mint } from "../integration/phoenix-client.ts";
import { freePort, startRedis } from "../integration/redis-process.ts";
import { frame, openWebSocket, type RawSocket, TEXT } from "../integration/websocket.ts";
import { backendOn } from "../integration/world.ts";
import { total } from "../soak/samples.ts";
import type { Attack } from "./attacks.ts";

const SECRET = "the-secret-of-the-siege-that-is-long-enough";
const ADMIN_SECRET = "the-administrator-of-the-siege-and-nobody-else";
const READ_KEY = "the-key-that-reads-the-metrics-of-the-siege";
const ROOM = "room";

const CLIENTS = 100;
/** Between two messages of the backend, in ms: each goes to all clients. */
const PAUSE = 100;
/** One client, in turn, answers every n-th message with a push. */
const PUSHES_EACH = 2;
/** How long to wait at the end for messages in flight, in ms. */
const LAST_WAIT = 5000;

/** The attacker stands for another machine: it gets the processor after the server and the honest clients. */
const BEHIND = [...(Bun.which("chrt") === null ? [] : ["chrt", "-o", "0"]), "nice", "-n", "10"];

export interface Siege {
  readonly name: string;
  readonly title: string;
  readonly seconds: number;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly peakBytes: number;
  /** From the backend's publish to the client; `null` where nothing came. */
  readonly p99Ms: number | null;
  readonly gaps: number;
  /** Messages that a client did not receive, pushes without an ok, and disconnected clients. */
  readonly lost: number;
  /** Bytes sent to Redis; `null` on the embedded bus. */
  readonly redisBytes: number | null;
  readonly exitCode: number;
  readonly log: string;
}

/** No attack: what the honest clients alone cost. */
export const BASELINE = { name: "none", title: "100 honest clients alone" } as const;

/** A server with 100 honest clients and, beside them, one attacker, for `seconds`. */
export async function startSiege(attack: Attack | typeof BASELINE, seconds: number): Promise<Siege> {
  const embedded = "embedded" in attack && attack.embedded === true;
  const redis = embedded ? null : await startRedis();
  const busPort = redis?.port ?? freePort();
  const channel = await startChannel({
    args: ["--bus", embedded ? "embedded" : "redis", "--redis-url", `redis://127.0.0.1:${busPort}`],
    toml: `jwt_secret = "${SECRET}"
admin_secret = "${ADMIN_SECRET}"
trusted_proxies = ["127.0.0.1"]
[[api_keys]]
name = "siege"
key = "${READ_KEY}"
can = ["read"]
`,
  });
  const backend = backendOn(busPort);
  const sockets: RawSocket[] = [];
  let attacker: Bun.Subprocess | null = null;
  try {
    const latency = new Latency();
    const received = new Array<number>(CLIENTS).fill(0);
    const joined = Promise.withResolvers<void>();
    let joins = 0;
    let answered = 0;
    for (let i = 0; i < CLIENTS; i++) {
      const opened = await openWebSocket(
        `${channel.url}/websocket?vsn=2.0.0`,
        { "x-forwarded-for": `192.0.2.${i + 1}` },
        ({ data }) => {
          const text = data.toString();
          const sentAt = /"sent_at":([\d.]+)/.exec(text)?.[1];
          if (sentAt !== undefined) {
            received[i] = (received[i] ?? 0) + 1;
            latency.record((performance.now() - Number(sentAt)) * 1000);
          } else if (text.startsWith('["1","1",')) {
            if (++joins === CLIENTS) joined.resolve();
          } else if (text.startsWith('["1","2",') && text.includes('"status":"ok"')) answered++;
        },
      );
      if (!("cut" in opened)) throw new Error(`an honest client was refused: ${opened.status}`);
      sockets.push(opened);
      const token = mint({ id: `honest-${i}`, channel: ROOM }, SECRET);
      opened.write(frame(TEXT, `["1","1","${ROOM}","phx_join",{"token":"${token}"}]`));
    }
    await joined.promise;
    const redisInput = async (): Promise<number> =>
      redis === null ? 0 : Number(/total_net_input_bytes:(\d+)/.exec(await backend.redis.info("stats"))?.[1]);
    const inputBefore = await redisInput();
    // From here on: the peak of the start (keys are derived in 32 MiB) does not belong to the attack.
    writeFileSync(`/proc/${channel.pid}/clear_refs`, "5");
    const cpuBefore = cpuMs(channel.pid);
    const began = performance.now();
    if ("run" in attack) {
      const args = [attack.name, channel.port, busPort, SECRET, ROOM, seconds].map(String);
      attacker = Bun.spawn([...BEHIND, process.execPath, join(import.meta.dir, "attacker.ts"), ...args], {
        stdio: ["ignore", "ignore", "inherit"],
      });
    }
    let published = 0;
    let pushed = 0;
    let notTaken = 0;
    while (performance.now() - began < seconds * 1000) {
      const message = `{"n":${published},"sent_at":${performance.now()}}`;
      backend.publish(`to:${ROOM}:news`, message).catch(() => notTaken++);
      if (published++ % PUSHES_EACH === 0) {
        sockets[pushed % CLIENTS]?.write(frame(TEXT, `["1","2","${ROOM}","said",{"n":${pushed}}]`));
        pushed++;
      }
      await Bun.sleep(Math.max(0, began + published * PAUSE - performance.now()));
    }
    const elapsed = performance.now() - began;
    const cpuPercent = ((cpuMs(channel.pid) - cpuBefore) / elapsed) * 100;
    await attacker?.exited;
    const missing = (): number => received.reduce((sum, count) => sum + published - count, 0);
    for (let waited = 0; waited < LAST_WAIT && missing() + pushed - answered > 0; waited += 50) {
      await Bun.sleep(50);
    }
    const metrics = await readMetrics(channel.url);
    const redisBytes = redis === null ? null : (await redisInput()) - inputBefore;
    const away = sockets.filter(({ isClosed }) => isClosed).length;
    const status = readFileSync(`/proc/${channel.pid}/status`, "utf8");
    const peakBytes = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
    for (const socket of sockets) socket.cut();
    const exitCode = await channel.stop();
    return {
      name: attack.name,
      title: attack.title,
      seconds,
      cpuPercent,
      peakBytes,
      p99Ms: latency.quantileMs(0.99),
      gaps: total(metrics, "channel_bus_gaps_total"),
      lost: missing() + (pushed - answered) + away + notTaken,
      redisBytes,
      exitCode,
      log: channel.output(),
    };
  } finally {
    attacker?.kill("SIGKILL");
    for (const socket of sockets) socket.cut();
    backend.stop();
    await channel.stop();
    await redis?.stop();
  }
}

async function readMetrics(url: string): Promise<Map<string, number>> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${READ_KEY}` } });
  if (answer.status !== 200) throw new Error(`/metrics: ${answer.status}`);
  const metrics = new Map<string, number>();
  for (const line of (await answer.text()).split("\n")) {
    const at = line.lastIndexOf(" ");
    if (!line.startsWith("#") && at > 0) metrics.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return metrics;
}

import { readFileSync } from "node:fs";
import { createMint } from "../auth/mint.ts";
import type { Membership } from "../bench/clients.ts";
import { drive, type Found, percent, Unheard } from "../bench/drive.ts";
import { LEAST_PAYLOAD_BYTES } from "../bench/payload.ts";
import { BusError } from "../bus/bus-error.ts";
import { parseRedisAddress } from "../bus/redis/redis-address.ts";
import { openPublishClient } from "../bus/redis/redis-client.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { isLoopback } from "../config/loopback.ts";
import { quoted } from "../config/quote.ts";
import { duration, type Kind, size, whole } from "../config/value-types.ts";
import { randomId } from "../hub/random-id.ts";
import type { Command } from "./command.ts";

/** The standard values, as the help tells them. */
export const BENCH_DEFAULTS = { clients: "100", rate: "10", payload: "100", channels: "1", for: "10s" };

const KINDS = {
  clients: whole(1, 1_000_000),
  rate: whole(1, 100_000),
  payload: size(LEAST_PAYLOAD_BYTES, 4 * 2 ** 20),
  channels: whole(1, 1_000_000),
  for: duration(1000, 86_400_000),
} satisfies Record<string, Kind<number>>;

const OWN_FLAG = "--yes-i-own-this-server";
/** Descriptors that are no client's. */
const SPARE = 50;
/** Requests for a token under way at a time. */
const ASKING = 50;

type Numbers = Record<keyof typeof KINDS, number>;

/** What cannot be done, for the operator; `code` as of `Command`. */
class Hindrance extends Error {
  readonly code: 1 | 2;

  constructor(code: 1 | 2, message: string) {
    super(message);
    this.code = code;
  }
}

/** `channel bench`: how much a server takes, here and now. */
export const bench: Command = async (
  { values, switches, operands: [address = ""] },
  { env, cwd, print, stderr, ended },
) => {
  const own = new Set([...Object.keys(KINDS), "config"]);
  const flags = Object.fromEntries(
    Object.entries(values).filter(([name]) => !own.has(name) || name === "config"),
  );
  const loaded = loadConfig({ flags, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config } = loaded;
  try {
    const numbers = readNumbers(values);
    const url = readAddress(address);
    if (!switches.has("yes-i-own-this-server")) refuseForeign(url, config.redisUrl);
    const opened = await openPublishClient(config, {
      lost: (where, reason) => stderr(`lost ${where}: ${reason}; going on when it is back`),
      back: (where) => stderr(`connected to ${where} again`),
    });
    if (!opened.ok) {
      throw new Hindrance(
        1,
        `cannot reach Redis at ${opened.where}: ${opened.reason}. Name the one that the server uses with --redis-url`,
      );
    }
    try {
      const channels = Array.from({ length: numbers.channels }, (_, i) => `bench-${randomId(8)}-${i}`);
      const found = await drive({
        url,
        memberships: await memberships(config, url, channels, numbers.clients),
        channels,
        rate: numbers.rate,
        payload: numbers.payload,
        seconds: numbers.for / 1000,
        speaker: opened.client,
        progress: stderr,
        enough: ended(),
      });
      if (switches.has("json"))
        print(JSON.stringify({ url: url.href, ...numbers, for: numbers.for / 1000, ...found }));
      else print(table(url, numbers, found));
    } catch (error) {
      if (error instanceof Unheard) {
        throw new Hindrance(
          1,
          `no client got what was published at ${opened.where}: name the Redis that the server uses with --redis-url`,
        );
      }
      throw error;
    } finally {
      await opened.client.stop();
    }
  } catch (error) {
    stderr(error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error));
    return error instanceof Hindrance ? error.code : error instanceof BusError ? 2 : 1;
  }
  return 0;
};

function readNumbers(values: Readonly<Record<string, string>>): Numbers {
  const read = (name: keyof typeof KINDS): number => {
    const text = values[name] ?? BENCH_DEFAULTS[name];
    const number = KINDS[name].parse(text);
    if (number === undefined)
      throw new Hindrance(2, `--${name} must be ${KINDS[name].expects}, not ${quoted(text)}`);
    return number;
  };
  const numbers = {
    clients: read("clients"),
    rate: read("rate"),
    payload: read("payload"),
    channels: read("channels"),
    for: read("for"),
  };
  const { clients, channels } = numbers;
  if (clients % channels !== 0)
    throw new Hindrance(
      2,
      `--clients ${clients} must be a multiple of --channels ${channels}: each gets as many`,
    );
  const most = mostFiles() - SPARE;
  if (clients > most)
    throw new Hindrance(
      2,
      `--clients ${clients}: this process may open ${most} connections; "ulimit -n" tells and sets it`,
    );
  return numbers;
}

/** How many descriptors this process may have. */
function mostFiles(): number {
  try {
    return (
      Number(
        /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1] ?? Number.NaN,
      ) || Infinity
    );
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !["ws:", "http:", "wss:", "https:"].includes(url.protocol) || url.hostname === "") {
    throw new Hindrance(2, `${quoted(text)} is no address of a server: write it as ws://127.0.0.1:2025`);
  }
  if (url.protocol === "wss:" || url.protocol === "https:") {
    throw new Hindrance(2, "bench speaks no TLS: give it the server's own address, behind the proxy");
  }
  const websocket = new URL(url.href.replace(/^http/, "ws"));
  if (!websocket.pathname.endsWith("/websocket")) {
    websocket.pathname = `${websocket.pathname.replace(/\/$/, "")}/websocket`;
  }
  websocket.searchParams.set("vsn", "2.0.0");
  return websocket;
}

/** Load on a machine of somebody else is an attack. */
function refuseForeign(url: URL, redisUrl: string): void {
  const hosts = [url.hostname, ...parseRedisAddress(redisUrl).hosts.map(({ host }) => host)];
  const foreign = hosts.map((host) => host.replace(/^\[|\]$/g, "")).find((host) => !isLoopback(host));
  if (foreign !== undefined) {
    throw new Hindrance(
      2,
      `${quoted(foreign)} is not this machine: if you may put load on it, add ${OWN_FLAG}`,
    );
  }
}

/** A user and a token for each client: signed here where the secret is known, else asked of the server. */
async function memberships(
  config: Config,
  url: URL,
  channels: readonly string[],
  clients: number,
): Promise<readonly Membership[]> {
  const mint = createMint(config);
  const tokenUrl = new URL(url.href.replace(/^ws/, "http"));
  tokenUrl.pathname = tokenUrl.pathname.replace(/\/websocket$/, "/token");
  tokenUrl.search = "";
  const tokenOf = (channel: string, id: string): Promise<string> =>
    config.jwtSecretGenerated ? ask(tokenUrl, channel, id) : mint({ id, channels: { channel } });
  const all: Membership[] = [];
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < clients) {
      const index = next++;
      const topic = channels[index % channels.length] ?? "";
      all[index] = { topic, token: await tokenOf(topic, `bench-${index}`) };
    }
  };
  await Promise.all(Array.from({ length: Math.min(ASKING, clients) }, one));
  return all;
}

async function ask(url: URL, channel: string, id: string): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch(url, { method: "POST", body: JSON.stringify({ channel, id }) });
  } catch {
    throw new Hindrance(1, `nothing answers at ${url.host}: is a server running there?`);
  }
  const body: unknown = await answer.json().catch(() => null);
  if (typeof body === "object" && body !== null && "token" in body && typeof body.token === "string")
    return body.token;
  throw new Hindrance(
    1,
    `the server gives no tokens (${answer.status}): name its secret with --jwt-secret or --config`,
  );
}

function table(url: URL, numbers: Numbers, found: Found): string {
  const n = (value: number, digits = 0): string =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const ms = (value: number | null): string => (value === null ? "-" : `${n(value, value < 10 ? 2 : 0)} ms`);
  const lost = found.expected - found.arrived;
  const rows: [string, string][] = [
    [
      "connections",
      `${n(found.clients)} in ${n(found.connectSeconds, 2)} s, ${n(found.clients / found.connectSeconds)} a second`,
    ],
    ["joins", `in ${n(found.joinSeconds, 2)} s; p50 ${ms(found.joinP50)}, p99 ${ms(found.joinP99)}`],
    [
      "published",
      `${n(found.published)} messages of ${n(numbers.payload)} bytes in ${n(found.seconds, 1)} s`,
    ],
    [
      "delivered",
      `${n(found.arrived)} of ${n(found.expected)} (${percent(found.arrived, found.expected)}), ${n(found.arrived / found.seconds)} a second`,
    ],
    ["latency", `p50 ${ms(found.p50)}, p99 ${ms(found.p99)}, at most ${ms(found.max)}`],
  ];
  if (lost > 0) rows.push(["LOST", `${n(lost)} deliveries`]);
  if (found.unpublished > 0)
    rows.push(["not published", `${n(found.unpublished)} messages: the bus was away, or refused them`]);
  if (found.closed > 0) rows.push(["closed", `${n(found.closed)} connections, by the server`]);
  if (found.server !== null) {
    const { cores, usEach, bytesEach } = found.server;
    rows.push(["server's CPU", `${n(usEach, 2)} us a delivery, ${n(cores, 2)} cores`]);
    rows.push(["server's memory", `${n(bytesEach / 1024, 1)} KB a connection that has joined`]);
  }
  const full = found.ownCores > 0.8 ? ": this, and not the server, is the bottleneck" : "";
  rows.push(["this generator", `${n(found.ownCores, 2)} cores${full}`]);
  const channels = numbers.channels === 1 ? "1 channel" : `${n(numbers.channels)} channels`;
  const head = `${url.host}: ${n(numbers.clients)} clients in ${channels}, ${n(numbers.rate)} messages a second in all`;
  return [head, "", ...rows.map(([name, text]) => `  ${name.padEnd(17)}${text}`)].join("\n");
}

import { createMint } from "../auth/mint.ts";
import type { Membership } from "../bench/clients.ts";
import { drive, NothingReceived, percent, type Result } from "../bench/drive.ts";
import { MIN_PAYLOAD_BYTES } from "../bench/payload.ts";
import { BusError } from "../bus/bus-error.ts";
import { parseRedisAddress } from "../bus/redis/redis-address.ts";
import { openPublishClient } from "../bus/redis/redis-client.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { isLoopback } from "../config/loopback.ts";
import { quoted } from "../config/quote.ts";
import { duration, integer, size, type ValueType } from "../config/value-types.ts";
import { randomId } from "../hub/random-id.ts";
import { openFileLimit } from "../process/open-files.ts";
import { BENCH_DEFAULTS } from "./bench-defaults.ts";
import type { Command } from "./command.ts";

const NUMBER_FLAGS = {
  clients: integer(1, 1_000_000),
  rate: integer(1, 100_000),
  payload: size(MIN_PAYLOAD_BYTES, 4 * 2 ** 20),
  channels: integer(1, 1_000_000),
  for: duration(1000, 86_400_000),
} satisfies Record<string, ValueType<number>>;

const OWN_FLAG = "--yes-i-own-this-server";
/** File descriptors that are not used for clients. */
const RESERVED_FILES = 50;
/** Concurrent requests for tokens. */
const TOKEN_REQUESTS = 50;

type Numbers = Record<keyof typeof NUMBER_FLAGS, number>;

/** Why the benchmark cannot run: one line for the operator; `code` is the exit code of `Command`. */
class BenchError extends Error {
  readonly code: 1 | 2;

  constructor(code: 1 | 2, message: string) {
    super(message);
    this.code = code;
  }
}

/** `channel bench`: measures the throughput and latency of a running server. */
export const bench: Command = async (
  { values, switches, operands: [address = ""] },
  { env, cwd, print, stderr, note, ended },
) => {
  const own = new Set([...Object.keys(NUMBER_FLAGS), "config"]);
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
      lost: (where, reason) => stderr(`lost the connection to Redis at ${where}: ${reason}; reconnecting`),
      back: (where) => note(`reconnected to Redis at ${where}`),
    });
    if (!opened.ok) {
      throw new BenchError(
        1,
        `cannot reach Redis at ${opened.where}: ${opened.reason}. Set the Redis of the server with --redis-url`,
      );
    }
    try {
      const channels = Array.from({ length: numbers.channels }, (_, i) => `bench-${randomId(8)}-${i}`);
      const result = await drive({
        url,
        memberships: await memberships(config, url, channels, numbers.clients),
        channels,
        rate: numbers.rate,
        payload: numbers.payload,
        seconds: numbers.for / 1000,
        speaker: opened.client,
        progress: note,
        stopped: ended(),
      });
      if (switches.has("json"))
        print(JSON.stringify({ url: url.href, ...numbers, for: numbers.for / 1000, ...result }));
      else print(table(url, numbers, result));
    } catch (error) {
      if (error instanceof NothingReceived) {
        throw new BenchError(
          1,
          `no client received messages published at ${opened.where}: set the Redis of the server with --redis-url`,
        );
      }
      throw error;
    } finally {
      await opened.client.stop();
    }
  } catch (error) {
    stderr(error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error));
    return error instanceof BenchError ? error.code : error instanceof BusError ? 2 : 1;
  }
  return 0;
};

function readNumbers(values: Readonly<Record<string, string>>): Numbers {
  const read = (name: keyof typeof NUMBER_FLAGS): number => {
    const text = values[name] ?? BENCH_DEFAULTS[name];
    const number = NUMBER_FLAGS[name].parse(text);
    if (number === undefined)
      throw new BenchError(2, `--${name} must be ${NUMBER_FLAGS[name].expects}, not ${quoted(text)}`);
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
    throw new BenchError(2, `--clients ${clients} must be a multiple of --channels ${channels}`);
  const max = openFileLimit() - RESERVED_FILES;
  if (clients > max)
    throw new BenchError(
      2,
      `--clients ${clients}: this process can open ${max} connections; "ulimit -n" shows and sets the limit`,
    );
  return numbers;
}

function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !["ws:", "http:", "wss:", "https:"].includes(url.protocol) || url.hostname === "") {
    throw new BenchError(2, `${quoted(text)} is not a server address: write ws://127.0.0.1:2025`);
  }
  if (url.protocol === "wss:" || url.protocol === "https:") {
    throw new BenchError(
      2,
      "bench does not support TLS: use the address of the server itself, behind the proxy",
    );
  }
  const websocket = new URL(url.href.replace(/^http/, "ws"));
  if (!websocket.pathname.endsWith("/websocket")) {
    websocket.pathname = `${websocket.pathname.replace(/\/$/, "")}/websocket`;
  }
  websocket.searchParams.set("vsn", "2.0.0");
  return websocket;
}

/** Requires the flag for other machines: load on a foreign machine is an attack. */
function refuseForeign(url: URL, redisUrl: string): void {
  const hosts = [url.hostname, ...parseRedisAddress(redisUrl).hosts.map(({ host }) => host)];
  const foreign = hosts.map((host) => host.replace(/^\[|\]$/g, "")).find((host) => !isLoopback(host));
  if (foreign !== undefined) {
    throw new BenchError(
      2,
      `${quoted(foreign)} is not this machine: if you are allowed to put load on it, add ${OWN_FLAG}`,
    );
  }
}

/** A channel and a token for each client: signed here if the secret is known, else requested from the server. */
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
    config.jwtSecretGenerated ? requestToken(tokenUrl, channel, id) : mint({ id, channels: { channel } });
  const all: Membership[] = [];
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < clients) {
      const index = next++;
      const topic = channels[index % channels.length] ?? "";
      all[index] = { topic, token: await tokenOf(topic, `bench-${index}`) };
    }
  };
  await Promise.all(Array.from({ length: Math.min(TOKEN_REQUESTS, clients) }, one));
  return all;
}

async function requestToken(url: URL, channel: string, id: string): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch(url, { method: "POST", body: JSON.stringify({ channel, id }) });
  } catch {
    throw new BenchError(1, `no answer from ${url.host}: is the server running?`);
  }
  const body: unknown = await answer.json().catch(() => null);
  if (typeof body === "object" && body !== null && "token" in body && typeof body.token === "string")
    return body.token;
  throw new BenchError(
    1,
    `the server issues no tokens (${answer.status}): set its secret with --jwt-secret or --config`,
  );
}

function table(url: URL, numbers: Numbers, result: Result): string {
  const n = (value: number, digits = 0): string =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const ms = (value: number | null): string => (value === null ? "-" : `${n(value, value < 10 ? 2 : 0)} ms`);
  const lost = result.expected - result.arrived;
  const rows: [string, string][] = [
    [
      "connections",
      `${n(result.clients)} in ${n(result.connectSeconds, 2)} s, ${n(result.clients / result.connectSeconds)} per second`,
    ],
    ["joins", `in ${n(result.joinSeconds, 2)} s; p50 ${ms(result.joinP50)}, p99 ${ms(result.joinP99)}`],
    [
      "published",
      `${n(result.published)} messages of ${n(numbers.payload)} bytes in ${n(result.seconds, 1)} s`,
    ],
    [
      "delivered",
      `${n(result.arrived)} of ${n(result.expected)} (${percent(result.arrived, result.expected)}), ${n(result.arrived / result.seconds)} per second`,
    ],
    ["latency", `p50 ${ms(result.p50)}, p99 ${ms(result.p99)}, max ${ms(result.max)}`],
  ];
  if (lost > 0) rows.push(["LOST", `${n(lost)} deliveries`]);
  if (result.unpublished > 0)
    rows.push(["not published", `${n(result.unpublished)} messages: Redis was unreachable or rejected them`]);
  if (result.closed > 0) rows.push(["closed", `${n(result.closed)} connections closed by the server`]);
  if (result.server !== null) {
    const { cores, usEach, bytesEach } = result.server;
    rows.push(["server's CPU", `${n(usEach, 2)} us per delivery, ${n(cores, 2)} cores`]);
    rows.push(["server's memory", `${n(bytesEach / 1024, 1)} KB per joined connection`]);
  }
  const full = result.ownCores > 0.8 ? ": the generator is the bottleneck" : "";
  rows.push(["this generator", `${n(result.ownCores, 2)} cores${full}`]);
  const channels = numbers.channels === 1 ? "1 channel" : `${n(numbers.channels)} channels`;
  const head = `${url.host}: ${n(numbers.clients)} clients in ${channels}, ${n(numbers.rate)} messages per second in total`;
  return [head, "", ...rows.map(([name, text]) => `  ${name.padEnd(17)}${text}`)].join("\n");
}

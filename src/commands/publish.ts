import { isObject, ownValue } from "../auth/json-object.ts";
import { BusError } from "../bus/bus-error.ts";
import { publishOnce } from "../bus/redis/redis-client.ts";
import {
  isChannelName,
  isEventName,
  isExport,
  parseFrom,
  parseTo,
  printTo,
  RESERVED_EVENTS,
} from "../bus/topics.ts";
import { type Config, type Loaded, loadConfig } from "../config/config.ts";
import { quoted } from "../config/quote.ts";
import { LIMITS } from "../config/settings.ts";
import { isJson } from "../hub/json/is-json.ts";
import type { Command } from "./command.ts";
import { ownServer } from "./own-server.ts";

/** `channel publish`: publishes one message on Redis, as a backend does. */
export const publish: Command = async (
  { values, switches, operands: [topic = "", text] },
  { env, cwd, terminal, print, stderr, note, readInput },
) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const { config } = loaded;
  const input = text === undefined || text === "-" ? await readInput() : Buffer.from(text);
  const problem = problemOf(config, topic, input);
  if (problem !== null || input === null) {
    stderr(problem ?? "");
    return 2;
  }
  const json = isJson(input);
  const asJson = switches.has("json");
  // A program that asks for no result should not wait for one.
  const wantsResult = asJson || terminal !== null;
  let done: Awaited<ReturnType<typeof publishOnce>>;
  try {
    done = await publishOnce(config, topic, input, wantsResult);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    stderr(error.message);
    return 2;
  }
  if (!done.ok) {
    stderr(
      `cannot reach Redis at ${done.where}: ${done.reason}. Start it (or "channel", which has an embedded bus), or set another with --redis-url`,
    );
    return 1;
  }
  if (!wantsResult) return 0;
  const { heard, where } = done;
  const reached = await reachedBy(loaded, topic, done);
  const { servers, clients } = reached;
  if (asJson) {
    print(JSON.stringify({ topic, bytes: input.length, json, heard, servers, clients, redis: where }));
    return 0;
  }
  print(
    `${topic}: ${input.length} bytes of ${json ? "JSON" : "binary"} to ${describe(heard, reached)} at ${where}`,
  );
  if (heard === 0 && !config.redisUrl.includes("+cluster")) {
    note(`warning: no subscribers at ${where}: is a server using this Redis?`);
  } else if (!json) {
    note("note: the payload is not JSON, so clients receive it as binary; JSON text needs double quotes");
  }
  return 0;
};

/** Who received a message; `null` where it is not known. */
interface Reached {
  readonly servers: number | null;
  readonly clients: number | null;
}

const UNKNOWN: Reached = { servers: null, clients: null };

/** By the API of the server of this configuration; without it, the number of servers alone, by their subscriptions. */
async function reachedBy(
  { config, sources }: Loaded & { readonly ok: true },
  topic: string,
  { heard, servers }: { readonly heard: number; readonly servers: number | null },
): Promise<Reached> {
  const to = parseTo(Buffer.from(topic));
  // In a cluster each node counts its own subscribers only.
  if (to === null || config.redisUrl.includes("+cluster")) return UNKNOWN;
  const bySubscription = { servers: servers === null ? null : Math.min(servers, heard), clients: null };
  // The server of this configuration may use another Redis than a flag names.
  const named = ["redis_url", "prefix"].some((key) => sources.get(key)?.source === "flag");
  const api = named || heard === 0 ? null : ownServer(config);
  const answer = (await api?.read(`/api/channels/${encodeURIComponent(to.channel)}?limit=1`)) ?? null;
  if (answer === null) return bySubscription;
  if (ownValue(answer.body, "code") === "channel_not_open") return { ...bySubscription, clients: 0 };
  const listeners = ownValue(answer.body, "listeners");
  if (answer.status !== 200 || !isObject(listeners)) return bySubscription;
  const clients = Object.values(listeners).reduce<number>((sum, count) => sum + Number(count), 0);
  return { ...bySubscription, clients };
}

function describe(heard: number, { servers, clients }: Reached): string {
  const inChannel = clients === null ? "" : `, ${counted(clients, "client")}`;
  if (servers === null) return `${counted(heard, "subscriber")}${inChannel}`;
  const others = heard - servers;
  const beside = others === 0 ? "" : ` and ${counted(others, "other subscriber")}`;
  return `${counted(servers, "server")}${beside}${inChannel}`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function problemOf(config: Config, topic: string, payload: Buffer | null): string | null {
  const from = parseFrom(Buffer.from(topic));
  const name = from ?? parseTo(Buffer.from(topic));
  if (name === null || !isChannelName(name.channel) || !isEventName(name.event)) {
    return `${quoted(topic)} is not a topic: write to:<channel>:<event>, as in ${printTo("system", "update")}`;
  }
  if (from === null && RESERVED_EVENTS.has(name.event))
    return `servers reject ${name.event} from backends: it is reserved by the protocol`;
  if (from === null && isExport(name))
    return `servers reject ${topic} from backends: only servers publish it`;
  if (payload === null) return "publish requires a payload, as the second argument or on standard input";
  if (payload.length === 0) return "the payload is empty: servers drop empty messages";
  const { maxPayload } = config.limits;
  if (payload.length > maxPayload)
    return `the payload has ${payload.length} bytes, more than limits.max_payload (${LIMITS.maxPayload.type.print(maxPayload)})`;
  return null;
}

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
import { type Config, loadConfig } from "../config/config.ts";
import { quoted } from "../config/quote.ts";
import { LIMITS } from "../config/settings.ts";
import { isJson } from "../hub/json/is-json.ts";
import type { Command } from "./command.ts";

/** `channel publish`: publishes one message on Redis, as a backend does. */
export const publish: Command = async (
  { values, switches, operands: [topic = "", text] },
  { env, cwd, terminal, print, stderr, readInput },
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
  let done: Awaited<ReturnType<typeof publishOnce>>;
  try {
    done = await publishOnce(config, topic, input);
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
  const { heard, where } = done;
  if (switches.has("json")) print(JSON.stringify({ topic, bytes: input.length, json, heard, redis: where }));
  else if (terminal !== null) {
    const subscribers = heard === 1 ? "1 subscriber" : `${heard} subscribers`;
    print(`${topic}: ${input.length} bytes of ${json ? "JSON" : "binary"} to ${subscribers} at ${where}`);
  }
  if (heard === 0 && !config.redisUrl.includes("+cluster")) {
    stderr(`warning: no subscribers at ${where}: is a server using this Redis?`);
  } else if (!json && terminal !== null) {
    stderr("note: the payload is not JSON, so clients receive it as binary; JSON text needs double quotes");
  }
  return 0;
};

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

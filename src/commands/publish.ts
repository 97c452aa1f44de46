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

/** `channel publish`: what a backend does, without a backend. */
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
      `cannot reach Redis at ${done.where}: ${done.reason}. Start it (or "channel", which brings a bus of its own), or name another with --redis-url`,
    );
    return 1;
  }
  const { heard, where } = done;
  if (switches.has("json")) print(JSON.stringify({ topic, bytes: input.length, json, heard, redis: where }));
  else if (terminal !== null) {
    const listeners = heard === 1 ? "1 listener" : `${heard} listeners`;
    print(`${topic}: ${input.length} bytes of ${json ? "JSON" : "binary"} to ${listeners} at ${where}`);
  }
  if (heard === 0 && !config.redisUrl.includes("+cluster")) {
    stderr(`warning: nobody listens at ${where}: is a server running on this Redis?`);
  } else if (!json && terminal !== null) {
    stderr("note: this is no JSON, so clients get it as binary; text in JSON stands between double quotes");
  }
  return 0;
};

function problemOf(config: Config, topic: string, payload: Buffer | null): string | null {
  const from = parseFrom(Buffer.from(topic));
  const name = from ?? parseTo(Buffer.from(topic));
  if (name === null || !isChannelName(name.channel) || !isEventName(name.event)) {
    return `${quoted(topic)} is no topic: write to:<channel>:<event>, as in ${printTo("system", "update")}`;
  }
  if (from === null && RESERVED_EVENTS.has(name.event))
    return `servers refuse ${name.event} from backends: it belongs to the protocol`;
  if (from === null && isExport(name)) return `servers refuse ${topic} from backends: they say it themselves`;
  if (payload === null) return "publish needs a payload: as its second argument, or on standard input";
  if (payload.length === 0) return "the payload is empty, and servers drop empty ones";
  const { maxPayload } = config.limits;
  if (payload.length > maxPayload)
    return `the payload has ${payload.length} bytes, and limits.max_payload is ${LIMITS.maxPayload.kind.print(maxPayload)}`;
  return null;
}

import { isUtf8 } from "node:buffer";
import { BusError } from "../bus/bus-error.ts";
import { type ObservedMessage, watchBus } from "../bus/redis/redis-client.ts";
import { parseFrom, parseTo } from "../bus/topics.ts";
import { loadConfig } from "../config/config.ts";
import { quoted } from "../config/quote.ts";
import { integer } from "../config/value-types.ts";
import { isJson } from "../hub/json/is-json.ts";
import { escaped } from "../log.ts";
import type { Command, Terminal } from "./command.ts";
import { watchedTopics } from "./watched-topics.ts";

const count = integer(1, Number.MAX_SAFE_INTEGER);

/** `channel watch`: prints messages between backends and clients until Ctrl-C, then their number. */
export const watch: Command = async (
  { values, all, switches, operands },
  { env, cwd, terminal, print, stderr, note, ended },
) => {
  const loaded = loadConfig({ flags: values, env, cwd });
  if (!loaded.ok) {
    stderr(loaded.message);
    return loaded.exitCode;
  }
  const max = values.count === undefined ? Number.POSITIVE_INFINITY : count.parse(values.count);
  if (max === undefined) {
    stderr(`--count must be ${count.expects}, not ${quoted(values.count ?? "")}`);
    return 2;
  }
  const topics = watchedTopics({
    operands,
    events: all.event ?? [],
    from: switches.has("from"),
    to: switches.has("to"),
  });
  if (typeof topics === "string") {
    stderr(topics);
    return 2;
  }
  const write = switches.has("json") ? asJson : terminal === null ? asText : forTerminal(terminal);
  const countReached = Promise.withResolvers<void>();
  let shown = 0;
  let watching: ReturnType<typeof watchBus>;
  try {
    watching = watchBus(loaded.config, topics.patterns, {
      message(passing) {
        if (shown >= max || !topics.shows(passing.name, passing.pattern)) return;
        print(write(passing));
        if (++shown === max) countReached.resolve();
      },
      live: (where) => note(`watching ${topics.shown} at ${where}; Ctrl-C to stop`),
      lost: (where, reason) =>
        stderr(`not connected to Redis at ${where}: ${reason}; retrying. Set another Redis with --redis-url`),
    });
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    stderr(error.message);
    return 2;
  }
  await Promise.race([ended(), countReached.promise]);
  await watching.stop();
  const messages = shown === 1 ? "1 message" : `${shown === 0 ? "no" : shown} messages`;
  note(`${messages} matched ${topics.shown}`);
  return 0;
};

interface ParsedTopic {
  readonly direction: "to" | "from" | null;
  readonly channel: string | null;
  readonly event: string | null;
  readonly topic: string;
}

function parseTopic(name: Buffer): ParsedTopic {
  const topic = name.toString("utf8");
  const to = parseTo(name);
  const from = to === null ? parseFrom(name) : null;
  const direction = to !== null ? "to" : from !== null ? "from" : null;
  const { channel, event } = to ?? from ?? { channel: null, event: null };
  return { direction, channel, event, topic };
}

/** One JSON object per line; a payload that is not JSON is in `base64`. */
function asJson({ name, payload }: ObservedMessage): string {
  const head = JSON.stringify({ time: new Date().toISOString(), ...parseTopic(name) }).slice(0, -1);
  // The text of the payload, unchanged: parsing and printing would lose precision.
  const body = isJson(payload)
    ? `"payload":${payload.toString("utf8").replace(/[\r\n]/g, " ")}`
    : `"base64":"${payload.toString("base64")}"`;
  return `${head},${body}}`;
}

function asText({ name, payload }: ObservedMessage): string {
  return `${new Date().toISOString()} ${escaped(parseTopic(name).topic)} ${bodyOf(payload)}`;
}

function bodyOf(payload: Buffer): string {
  if (isUtf8(payload)) return escaped(payload.toString("utf8"));
  return `<${payload.length} bytes: ${payload.toString("hex", 0, 32)}${payload.length > 32 ? "..." : ""}>`;
}

/** `14:03:22.184  to    system  update  {"a":1}`, cut to one line; directions as a backend sees them. */
function forTerminal({ columns, color }: Terminal): (passing: ObservedMessage) => string {
  const paint = (code: string, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  return ({ name, payload }) => {
    const { direction, channel, event, topic } = parseTopic(name);
    const now = new Date();
    const two = (number: number, digits = 2) => String(number).padStart(digits, "0");
    const time = `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}.${two(now.getMilliseconds(), 3)}`;
    const where = escaped(channel === null || event === null ? topic : `${channel}  ${event}`);
    const body = bodyOf(payload);
    const arrow = direction === "to" ? "to  " : direction === "from" ? "from" : "    ";
    const width = Math.max(20, columns - time.length - where.length - arrow.length - 6);
    const short = Bun.stringWidth(body) <= width ? body : `${body.slice(0, width - 3)}...`;
    return `${paint("2", time)}  ${paint(direction === "to" ? "36" : "33", arrow)}  ${paint("1", where)}  ${short}`;
  };
}

import type { Resp } from "../resp.ts";
import * as reply from "../resp.ts";
import { MAX_LIST_NAME } from "./lists.ts";
import { bulkOf, type Command, type RespContext, type Run, textOf, wrongNumber } from "./resp-command.ts";
import type { RespConnection } from "./resp-connection.ts";

const NO_INTEGER = reply.error("ERR value is not an integer or out of range");
const NO_COUNT = reply.error("ERR value is out of range, must be positive");
const NO_TIMEOUT = reply.error("ERR timeout is not a float or out of range");
const NEGATIVE_TIMEOUT = reply.error("ERR timeout is negative");
const NO_ROOM = reply.error("OOM command not allowed when used memory > 'maxmemory'.");
const TOO_MANY_LISTS = reply.error("ERR too many lists to wait for");
const NAME_TOO_LONG = reply.error(`ERR a name of more than ${MAX_LIST_NAME} bytes`);
const NO_KEY = Buffer.alloc(0);

/** The longest time to live, in seconds: Redis refuses times that overflow. */
const MAX_SECONDS = 9_000_000_000_000_000;

const FLAGS: ReadonlySet<string> = new Set(["nx", "xx", "gt", "lt"]);

/** What a queue of calls needs: servers append at one end of a list, and backends take items from the other. */
export const LIST_COMMANDS: readonly (readonly [string, Command])[] = [
  ["rpush", { arity: -3, run: named(rpush) }],
  ["lpop", { arity: -2, run: named(lpop) }],
  ["blpop", { arity: -3, run: blpop }],
  [
    "llen",
    { arity: 2, run: named((_connection, [key = NO_KEY], { lists }) => reply.integer(lists.length(key))) },
  ],
  ["expire", { arity: -3, run: named(expire) }],
  ["del", { arity: -2, run: del }],
];

/** A command whose first argument is the name of a list. */
function named(run: Run): Run {
  return (connection, args, context) =>
    (args[0]?.length ?? 0) > MAX_LIST_NAME ? NAME_TOO_LONG : run(connection, args, context);
}

function rpush(_connection: RespConnection, args: readonly Buffer[], { lists }: RespContext): Resp {
  const [key = NO_KEY, ...items] = args;
  const length = lists.push(key, items);
  return length === null ? NO_ROOM : reply.integer(length);
}

function lpop(connection: RespConnection, args: readonly Buffer[], { lists }: RespContext): Resp {
  const [key = NO_KEY, count] = args;
  if (args.length > 2) return wrongNumber("lpop");
  if (count === undefined) {
    const item = lists.pop(key);
    return item === null ? reply.nil(connection.protocol) : bulkOf(item);
  }
  const text = textOf(count);
  if (!/^\d{1,15}$/.test(text)) return NO_COUNT;
  if (lists.length(key) === 0) return reply.nilArray(connection.protocol);
  const items: Resp[] = [];
  for (let left = Number(text); left > 0; left--) {
    const item = lists.pop(key);
    if (item === null) break;
    items.push(bulkOf(item));
  }
  return reply.array(items);
}

/** Blocks its connection only: requests behind it wait, those of others do not. */
function blpop(connection: RespConnection, args: readonly Buffer[], { lists }: RespContext): Resp | null {
  const keys = args.slice(0, -1);
  const text = textOf(args.at(-1));
  const seconds = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (!(Math.abs(seconds) * 1000 <= Number.MAX_SAFE_INTEGER)) return NO_TIMEOUT;
  if (seconds < 0) return NEGATIVE_TIMEOUT;
  if (keys.some((key) => key.length > MAX_LIST_NAME)) return NAME_TOO_LONG;
  for (const key of keys) {
    const item = lists.pop(key);
    if (item !== null) return reply.array([bulkOf(key), bulkOf(item)]);
  }
  return connection.waitForItem(keys, seconds * 1000) ? null : TOO_MANY_LISTS;
}

function expire(_connection: RespConnection, args: readonly Buffer[], { lists }: RespContext): Resp {
  const [key = NO_KEY, time, ...options] = args;
  const flags = new Set<string>();
  for (const option of options) {
    const flag = textOf(option).toLowerCase();
    if (!FLAGS.has(flag)) return reply.error(`ERR Unsupported option ${textOf(option)}`);
    flags.add(flag);
  }
  if (flags.has("nx") && flags.size > 1) {
    return reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
  }
  if (flags.has("gt") && flags.has("lt")) {
    return reply.error("ERR GT and LT options at the same time are not compatible");
  }
  if (!/^-?\d{1,19}$/.test(textOf(time))) return NO_INTEGER;
  const seconds = Number(textOf(time));
  if (Math.abs(seconds) > MAX_SECONDS) return reply.error("ERR invalid expire time in 'expire' command");
  const known = lists.expiryOf(key);
  if (known === null) return reply.integer(0);
  const at = performance.now() + seconds * 1000;
  const expires = known !== Number.POSITIVE_INFINITY;
  const isRefused =
    (flags.has("nx") && expires) ||
    (flags.has("xx") && !expires) ||
    (flags.has("gt") && at <= known) ||
    (flags.has("lt") && at >= known);
  if (isRefused) return reply.integer(0);
  lists.expireAt(key, at);
  return reply.integer(1);
}

function del(_connection: RespConnection, keys: readonly Buffer[], { lists }: RespContext): Resp {
  return reply.integer(keys.filter((key) => lists.delete(key)).length);
}

import { timingSafeEqual } from "node:crypto";
import * as reply from "../resp.ts";
import { OK, type Resp } from "../resp.ts";
import { LIST_COMMANDS } from "./list-commands.ts";
import { bulkOf, type Command, type RespContext, type Run, textOf, wrongNumber } from "./resp-command.ts";
import type { RespConnection } from "./resp-connection.ts";
import { keyOf, MAX_SUBSCRIBED_NAME, SubscriptionRefusal } from "./subscriptions.ts";

/** The version of Redis whose commands and errors these are. */
const REDIS_VERSION = "7.0.0";
const DATABASES = 16;
/** Bytes of a request that an error repeats, as in Redis. */
const MAX_QUOTED = 128;
const WRONG_PASSWORD = reply.error("WRONGPASS invalid username-password pair or user is disabled.");

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["ping", { arity: -1, run: ping, subscribed: true }],
  ["echo", { arity: 2, run: (_connection, [text]) => bulkOf(text) }],
  ["hello", { arity: -1, run: hello, open: true }],
  ["auth", { arity: -2, run: auth, open: true }],
  ["select", { arity: 2, run: select }],
  ["client", { arity: -2, run: client }],
  ["role", { arity: 1, run: () => reply.array([reply.bulk("master"), reply.integer(0), reply.array([])]) }],
  ["time", { arity: 1, run: time }],
  ["info", { arity: -1, run: () => INFO }],
  ["command", { arity: -1, run: command }],
  ["quit", { arity: -1, run: quit, subscribed: true, open: true }],
  ["reset", { arity: 1, run: reset, subscribed: true, open: true }],
  ["publish", { arity: 3, run: publish }],
  ["subscribe", { arity: -2, run: subscriber("subscribe", false), subscribed: true }],
  ["psubscribe", { arity: -2, run: subscriber("psubscribe", true), subscribed: true }],
  ["unsubscribe", { arity: -1, run: unsubscriber("unsubscribe", false), subscribed: true }],
  ["punsubscribe", { arity: -1, run: unsubscriber("punsubscribe", true), subscribed: true }],
  ["pubsub", { arity: -2, run: pubsub }],
  ...LIST_COMMANDS,
]);

/** Runs one request (its name and arguments). Replies go to the connection; nothing is thrown. */
export function runCommand(
  connection: RespConnection,
  strings: readonly Buffer[],
  context: RespContext,
): void {
  const [first, ...args] = strings;
  const name = textOf(first);
  const lower = name.toLowerCase();
  const found = COMMANDS.get(lower);
  let answer: Resp | null;
  if (found === undefined) answer = unknownCommand(name, args);
  else if (!arityFits(found.arity, strings.length)) answer = wrongNumber(lower);
  else if (!connection.authenticated && found.open !== true) {
    answer = reply.error("NOAUTH Authentication required.");
  } else if (connection.protocol === 2 && connection.subscribed > 0 && found.subscribed !== true) {
    const allowed =
      "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    answer = reply.error(`ERR Can't execute '${lower}': ${allowed}`);
  } else answer = found.run(connection, args, context);
  if (answer !== null) connection.send(answer);
}

function ping(connection: RespConnection, args: readonly Buffer[]): Resp {
  if (args.length > 1) return wrongNumber("ping");
  if (connection.protocol === 2 && connection.subscribed > 0) {
    return reply.array([reply.bulk("pong"), bulkOf(args[0])]);
  }
  return args.length === 0 ? reply.simple("PONG") : bulkOf(args[0]);
}

function hello(connection: RespConnection, args: readonly Buffer[], context: RespContext): Resp {
  let { protocol } = connection;
  const [version, ...options] = args;
  if (version !== undefined) {
    const text = textOf(version);
    if (!/^-?\d{1,18}$/.test(text))
      return reply.error("ERR Protocol version is not an integer or out of range");
    if (text !== "2" && text !== "3") return reply.error("NOPROTO unsupported protocol version");
    protocol = text === "3" ? 3 : 2;
  }
  let name: string | null = null;
  for (let i = 0; i < options.length; i++) {
    const option = textOf(options[i]).toLowerCase();
    const left = options.length - i - 1;
    if (option === "auth" && left >= 2) {
      if (!authenticate(connection, textOf(options[i + 1]), options[i + 2], context)) return WRONG_PASSWORD;
      i += 2;
    } else if (option === "setname" && left >= 1) {
      name = textOf(options[++i]);
      if (!isClientName(name)) return BAD_NAME;
    } else {
      return reply.error(`ERR Syntax error in HELLO option '${quoted(textOf(options[i]))}'`);
    }
  }
  if (!connection.authenticated) {
    return reply.error(
      "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
  }
  if (name !== null) connection.name = name;
  connection.protocol = protocol;
  return reply.map(protocol, [
    ...[reply.bulk("server"), reply.bulk("redis")],
    ...[reply.bulk("version"), reply.bulk(REDIS_VERSION)],
    ...[reply.bulk("proto"), reply.integer(protocol)],
    ...[reply.bulk("id"), reply.integer(connection.id)],
    ...[reply.bulk("mode"), reply.bulk("standalone")],
    ...[reply.bulk("role"), reply.bulk("master")],
    ...[reply.bulk("modules"), reply.array([])],
  ]);
}

function auth(connection: RespConnection, args: readonly Buffer[], context: RespContext): Resp {
  if (args.length > 2) return reply.error("ERR syntax error");
  if (args.length === 1 && context.password === null) {
    return reply.error(
      "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    );
  }
  const user = args.length === 2 ? textOf(args[0]) : "default";
  return authenticate(connection, user, args.at(-1), context) ? OK : WRONG_PASSWORD;
}

function authenticate(
  connection: RespConnection,
  user: string,
  secret: Buffer | undefined,
  context: RespContext,
) {
  if (user !== "default" || secret === undefined) return false;
  if (context.password !== null) {
    const expected = Buffer.from(context.password);
    if (secret.length !== expected.length || !timingSafeEqual(secret, expected)) return false;
  }
  connection.authenticated = true;
  return true;
}

function select(_connection: RespConnection, [index]: readonly Buffer[]): Resp {
  const text = textOf(index);
  if (!/^-?\d{1,9}$/.test(text)) return reply.error("ERR value is not an integer or out of range");
  const number = Number(text);
  return number >= 0 && number < DATABASES ? OK : reply.error("ERR DB index is out of range");
}

const BAD_NAME = reply.error("ERR Client names cannot contain spaces, newlines or special characters.");

function client(connection: RespConnection, args: readonly Buffer[]): Resp {
  const [first, ...rest] = args;
  const name = textOf(first);
  const sub = name.toLowerCase();
  switch (sub) {
    case "setname": {
      if (rest.length !== 1) return wrongNumber("client|setname");
      if (!isClientName(textOf(rest[0]))) return BAD_NAME;
      connection.name = textOf(rest[0]);
      return OK;
    }
    case "setinfo":
      return rest.length === 2 ? OK : wrongNumber("client|setinfo");
    case "id":
      return rest.length === 0 ? reply.integer(connection.id) : wrongNumber("client|id");
    case "getname":
      if (rest.length > 0) return wrongNumber("client|getname");
      return connection.name === "" ? reply.nil(connection.protocol) : reply.bulk(connection.name);
    default:
      return unknownSubcommand("CLIENT", name);
  }
}

/** What clients check when they connect: version, readiness and role. Sections are not supported. */
const INFO = reply.bulk(
  [`redis_version:${REDIS_VERSION}`, "redis_mode:standalone", "loading:0", "role:master", ""].join("\r\n"),
);

/** Unix time in seconds, and the microseconds of the current second. */
function time(): Resp {
  const now = Date.now();
  return reply.array([reply.bulk(String(Math.floor(now / 1000))), reply.bulk(String((now % 1000) * 1000))]);
}

/** redis-cli asks for documentation, other clients for the number of commands: there is neither list nor documentation. */
function command(connection: RespConnection, [sub]: readonly Buffer[]): Resp {
  const name = textOf(sub);
  switch (name.toLowerCase()) {
    case "":
      return reply.array([]);
    case "count":
      return reply.integer(COMMANDS.size);
    case "docs":
      return reply.map(connection.protocol, []);
    default:
      return unknownSubcommand("COMMAND", name);
  }
}

function quit(connection: RespConnection): Resp {
  connection.closing = true;
  return OK;
}

function reset(connection: RespConnection, _args: readonly Buffer[], context: RespContext): Resp {
  connection.unsubscribeAll();
  connection.protocol = 2;
  connection.name = "";
  connection.authenticated = context.password === null;
  return reply.simple("RESET");
}

const NAME_TOO_LONG = reply.error(`ERR a name of more than ${MAX_SUBSCRIBED_NAME} bytes`);

function publish(
  _connection: RespConnection,
  [name, payload]: readonly Buffer[],
  context: RespContext,
): Resp {
  if (name === undefined || payload === undefined) return wrongNumber("publish");
  if (name.length > MAX_SUBSCRIBED_NAME) return NAME_TOO_LONG;
  return reply.integer(context.subscriptions.publish(name, payload));
}

function subscriber(kind: string, isPattern: boolean): Run {
  return (connection, args) => {
    for (const name of args) {
      const count = connection.subscribe(name, isPattern);
      connection.send(
        count instanceof SubscriptionRefusal
          ? reply.error(`ERR ${count.sentence}`)
          : confirmation(connection, kind, reply.bulk(keyOf(name)), count),
      );
    }
    return null;
  };
}

function unsubscriber(kind: string, isPattern: boolean): Run {
  return (connection, args) => {
    const own = isPattern ? connection.patterns : connection.channels;
    const names = args.length > 0 ? args : [...own.values()];
    for (const name of names) {
      const count = connection.unsubscribe(name, isPattern);
      connection.send(confirmation(connection, kind, reply.bulk(keyOf(name)), count));
    }
    if (names.length > 0) return null;
    return confirmation(connection, kind, reply.nil(connection.protocol), connection.subscribed);
  };
}

function confirmation(connection: RespConnection, kind: string, name: Resp, count: number): Resp {
  return reply.push(connection.protocol, [reply.bulk(kind), name, reply.integer(count)]);
}

function pubsub(_connection: RespConnection, args: readonly Buffer[], { subscriptions }: RespContext): Resp {
  const [first, ...rest] = args;
  const name = textOf(first);
  switch (name.toLowerCase()) {
    case "channels":
      if (rest.length > 1) return unknownOrWrong("PUBSUB", name);
      if ((rest[0]?.length ?? 0) > MAX_SUBSCRIBED_NAME) return NAME_TOO_LONG;
      return reply.array(subscriptions.channels(rest[0] ?? null).map((each) => reply.bulk(keyOf(each))));
    case "numsub":
      // A flat array in RESP3 as well, as Redis answers.
      return reply.array(
        rest.flatMap((each) => [reply.bulk(keyOf(each)), reply.integer(subscriptions.count(each))]),
      );
    case "numpat":
      return rest.length === 0 ? reply.integer(subscriptions.patterns) : wrongNumber("pubsub|numpat");
    default:
      return unknownSubcommand("PUBSUB", name);
  }
}

function arityFits(arity: number, length: number): boolean {
  return arity < 0 ? length >= -arity : length === arity;
}

function unknownCommand(name: string, args: readonly Buffer[]): Resp {
  let shown = "";
  for (const arg of args) {
    if (shown.length >= MAX_QUOTED) break;
    shown += `'${textOf(arg).slice(0, MAX_QUOTED - shown.length)}' `;
  }
  return reply.error(`ERR unknown command '${quoted(name)}', with args beginning with: ${shown}`);
}

function unknownSubcommand(name: string, sub: string): Resp {
  return reply.error(`ERR unknown subcommand '${quoted(sub)}'. Try ${name} HELP.`);
}

function unknownOrWrong(name: string, sub: string): Resp {
  const what = `unknown subcommand or wrong number of arguments for '${quoted(sub)}'`;
  return reply.error(`ERR ${what}. Try ${name} HELP.`);
}

function isClientName(text: string): boolean {
  return /^[!-~]*$/.test(text);
}

function quoted(text: string): string {
  return text.slice(0, MAX_QUOTED);
}

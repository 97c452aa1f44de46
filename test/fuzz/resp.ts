import type { Socket } from "bun";
import { Lists } from "../../src/bus/embedded/lists.ts";
import type { RespContext } from "../../src/bus/embedded/resp-command.ts";
import { runCommand } from "../../src/bus/embedded/resp-commands.ts";
import { RespConnection } from "../../src/bus/embedded/resp-connection.ts";
import { Subscriptions } from "../../src/bus/embedded/subscriptions.ts";
import type { Random } from "../unit/protocols/phoenix/fuzz/random.ts";
import { channelName, eventName, mutatedBytes, randomBytes } from "./inputs.ts";
import { cut } from "./redis.ts";
import type { Target } from "./target.ts";

const MAX_BULK = 4096;
const MARGIN = 1024 * 1024;

const COMMANDS = [
  "PING",
  "ECHO",
  "HELLO",
  "AUTH",
  "SELECT",
  "CLIENT",
  "INFO",
  "COMMAND",
  "QUIT",
  "RESET",
  "PUBLISH",
  "PUBLISH",
  "PUBLISH",
  "SUBSCRIBE",
  "PSUBSCRIBE",
  "UNSUBSCRIBE",
  "PUNSUBSCRIBE",
  "RPUSH",
  "RPUSH",
  "LPOP",
  "BLPOP",
  "LLEN",
  "EXPIRE",
  "DEL",
  "PUBSUB",
  "GET",
  "__proto__",
  "constructor",
] as const;

const WORDS = [
  "2",
  "3",
  "4",
  "0",
  "-1",
  "AUTH",
  "SETNAME",
  "SETINFO",
  "ID",
  "GETNAME",
  "CHANNELS",
  "NUMSUB",
  "NUMPAT",
  "DOCS",
  "COUNT",
  "default",
  "secret",
  "to:*",
  "*",
  "[",
  "[^",
  "\\",
  "?*[a-z]",
  "",
] as const;

/** Requests as a backend sends them to the embedded bus: read as one parser reads them, and answered in whole replies. */
export function resp(random: Random): Target {
  const subscriptions = new Subscriptions();
  const lists = new Lists(1024 * 1024);
  const context: RespContext = {
    subscriptions,
    lists,
    password: random.chance(50) ? null : "secret",
  };
  let id = 0;
  return {
    input() {
      const written: Buffer[] = [];
      const connection = open(++id, written, context, context.password === null || random.chance(80));
      const requests = Array.from({ length: 1 + random.next(4) }, () => requestOf(random));
      const whole = Buffer.concat(requests);
      const kind = random.next(10);
      const bytes = kind < 6 ? whole : kind < 9 ? mutatedBytes(random, whole) : randomBytes(random, 60);
      const expected = parse(bytes);
      const commands: string[] = [];
      let fault: string | null = null;
      let quit = false;
      for (const piece of cut(random, bytes)) {
        const found = connection.reader.read(piece, (strings) => {
          commands.push(JSON.stringify(strings.map((each) => each.toString("latin1"))));
          runCommand(connection, strings, context);
          quit = connection.closing || connection.awaitsItem;
          return !quit;
        });
        // The caller may reuse the buffer.
        piece.fill(0x2a);
        if (found !== null) fault = found.reply ?? "silent";
        if (found !== null || quit) break;
      }
      connection.flush();
      connection.forget();
      const wanted = quit ? expected.commands.slice(0, commands.length) : expected.commands;
      if (commands.join("\n") !== wanted.join("\n"))
        return `read ${commands.join(" ")} and not ${wanted.join(" ")}`;
      if (!quit && (fault === null) !== (expected.fault === null))
        return `${fault} and not ${expected.fault}`;
      if (fault !== null && (fault === "silent") !== (expected.fault === "silent"))
        return `${fault}: silence is wrong`;
      const out = Buffer.concat(written);
      for (let at = 0; at < out.length; ) {
        at = replyEnd(out, at);
        if (at < 0)
          return `answered what is no reply: ${JSON.stringify(out.toString("latin1").slice(0, 200))}`;
      }
      return null;
    },
    check: () =>
      subscriptions.patterns === 0 && subscriptions.channels(null).length === 0 && lists.waiters === 0
        ? null
        : "subscriptions of one who is gone",
    stop() {},
  };
}

function open(
  id: number,
  written: Buffer[],
  { subscriptions, lists }: RespContext,
  authenticated: boolean,
): RespConnection {
  // The part of a socket that a connection uses.
  const socket = {
    write: (bytes: Buffer): number => {
      written.push(Buffer.from(bytes));
      return bytes.length;
    },
    end() {},
    terminate() {},
    timeout() {},
  } as unknown as Socket<RespConnection>;
  const budget = { waiting: 0, most: Number.POSITIVE_INFINITY, exceeded() {} };
  return new RespConnection({
    id,
    socket,
    maxBulk: MAX_BULK,
    authenticated,
    subscriptions,
    budget,
    dirty() {},
    lists,
    unblocked() {},
  });
}

function requestOf(random: Random): Buffer {
  const word = (): Buffer => {
    const kind = random.next(10);
    if (kind < 4) return Buffer.from(random.pick(WORDS));
    if (kind < 7) return Buffer.from(`to:${channelName(random)}:${eventName(random)}`);
    if (kind < 9) return randomBytes(random, 30);
    return Buffer.alloc(MAX_BULK - 2 + random.next(4), 0x61);
  };
  const name = random.pick(COMMANDS);
  const strings = [Buffer.from(random.chance(50) ? name : name.toLowerCase()), ...random.times(4, word)];
  const parts = strings.flatMap((each) => [Buffer.from(`$${each.length}\r\n`), each, Buffer.from("\r\n")]);
  return Buffer.concat([Buffer.from(`*${strings.length}\r\n`), ...parts]);
}

interface Parsed {
  readonly commands: readonly string[];
  /** `silent`, or answered with an error. */
  readonly fault: "silent" | "reported" | null;
}

/** A second parser of the protocol, over complete text of one character a byte. */
function parse(bytes: Buffer): Parsed {
  const commands: string[] = [];
  let rest = bytes.toString("latin1");
  for (;;) {
    if (rest === "") return { commands, fault: null };
    if (!rest.startsWith("*")) return { commands, fault: "silent" };
    const count = lengthAt(rest, 1);
    if (count === null || typeof count === "string") return { commands, fault: count };
    if (count.value > 1024 * 1024) return { commands, fault: "reported" };
    rest = rest.slice(count.end);
    const strings: string[] = [];
    let size = 0;
    while (strings.length < count.value) {
      if (rest === "") return { commands, fault: null };
      if (!rest.startsWith("$")) return { commands, fault: "reported" };
      const length = lengthAt(rest, 1);
      if (length === null || typeof length === "string") return { commands, fault: length };
      size += length.value;
      if (length.value > MAX_BULK || size > MAX_BULK + MARGIN) return { commands, fault: "reported" };
      const end = length.end + length.value;
      if (rest.length < end + 2) return { commands, fault: null };
      if (rest.slice(end, end + 2) !== "\r\n") return { commands, fault: "reported" };
      strings.push(rest.slice(length.end, end));
      rest = rest.slice(end + 2);
    }
    if (strings.length > 0) commands.push(JSON.stringify(strings));
  }
}

/** A length with its line end; `null` if it is incomplete, `"reported"` if it is invalid. */
function lengthAt(text: string, at: number): { value: number; end: number } | "reported" | null {
  const [digits = ""] = /^\d*/.exec(text.slice(at, at + 12)) ?? [];
  if (digits.length > 10) return "reported";
  const after = text.slice(at + digits.length, at + digits.length + 2);
  if (after === "") return null;
  if (digits === "" || !after.startsWith("\r")) return "reported";
  if (after === "\r") return null;
  return after === "\r\n" ? { value: Number(digits), end: at + digits.length + 2 } : "reported";
}

/** The index behind the reply that begins at `at`; -1 if there is none. */
function replyEnd(out: Buffer, at: number): number {
  const lineEnd = out.indexOf("\r\n", at);
  if (lineEnd < 0) return -1;
  const kind = String.fromCharCode(out[at] ?? 0);
  const size = Number(out.toString("latin1", at + 1, lineEnd));
  let end = lineEnd + 2;
  if ("+-:_#".includes(kind)) return end;
  if ("$=".includes(kind)) {
    if (size < 0) return end;
    return out[end + size] === 13 ? end + size + 2 : -1;
  }
  if (!"*>%~".includes(kind)) return -1;
  for (let i = 0; i < (kind === "%" ? 2 * size : size) && end >= 0; i++) end = replyEnd(out, end);
  return end;
}

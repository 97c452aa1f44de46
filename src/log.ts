import { isatty } from "node:tty";
import { LineWriter } from "./process/standard-error.ts";

/** One line for each entry; `fields` are short, never a secret, a token, or the query of a URL. */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

export type Fields = Readonly<Record<string, string | number | boolean | null>>;

const LEVELS = ["debug", "info", "warn", "error"] as const;

type Level = (typeof LEVELS)[number];

export interface LogOptions {
  /** The least that is written; what lies below costs the call of an empty function. */
  readonly level: Level;
  /** `text` for people, in local time; `json` for programs: `{"time","level","message",...fields}`, in UTC. */
  readonly format: "text" | "json";
  /** Whether levels are coloured in `text`. */
  readonly color?: boolean;
  /** Takes each line with its line end. Default: standard error, which never blocks; what nobody reads is dropped and counted. */
  readonly write?: (line: string) => void;
}

/** A log whose lines nobody can forge: whatever a message or value holds, an entry stays one line and prints no escape. */
export function createLog(options: LogOptions): Log {
  const { level: least } = options;
  const line = options.format === "json" ? jsonLine : textLine(options.color ?? false);
  const write = options.write ?? toStandardError((dropped) => `${line("warn", DROPPED, { dropped })}\n`);
  const at = (level: Level): Log["info"] =>
    LEVELS.indexOf(level) < LEVELS.indexOf(least)
      ? () => {}
      : (message, fields) => write(`${line(level, message, fields)}\n`);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Whether standard error is a terminal that shows colours. */
export function standardErrorHasColor(env: Readonly<Record<string, string | undefined>>): boolean {
  return isatty(2) && !env.NO_COLOR && env.TERM !== "dumb";
}

/**
 * For what may happen a million times and should be told about once a minute: the first call tells at once, later ones
 * are counted, and the first one after `ms` tells how many there were since the last time.
 */
export function atMostOncePer(ms: number, tell: (times: number) => void): () => void {
  let next = Number.NEGATIVE_INFINITY;
  let times = 0;
  return () => {
    times++;
    const now = performance.now();
    if (now < next) return;
    next = now + ms;
    const since = times;
    times = 0;
    tell(since);
  };
}

/** No text is worth more of a line than this, in characters; the rest is left out. */
const MAX_TEXT = 500;

function shortened(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}

/** What moves a terminal's cursor, ends a line somewhere, or turns its letters round: never printed as it is. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text from outside in one line that moves no cursor. */
export function escaped(text: string): string {
  return text.replace(UNPRINTABLE, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function jsonLine(level: Level, message: string, fields?: Fields): string {
  const entry = { time: new Date().toISOString(), level, message, ...fields };
  // Outside its strings JSON holds nothing that would be escaped here, and inside them this is JSON's own form.
  return escaped(
    JSON.stringify(entry, (_, value: unknown) => (typeof value === "string" ? shortened(value) : value)),
  );
}

const COLORS: Readonly<Record<Level, string>> = { debug: "2", info: "32", warn: "33", error: "31" };

function textLine(color: boolean): (level: Level, message: string, fields?: Fields) => string {
  const heads = new Map(
    LEVELS.map((level) => {
      const name = level.toUpperCase().padEnd(5);
      return [level, color ? `\u001b[${COLORS[level]}m${name}\u001b[0m` : name];
    }),
  );
  return (level, message, fields) => {
    let line = `${localTime(new Date())} ${heads.get(level)} ${escaped(shortened(message))}`;
    for (const name in fields) line += ` ${name}=${printed(fields[name])}`;
    return line;
  };
}

/** A value that can be told from what follows: text in quotes, unless it is a plain word, address or path. */
function printed(value: Fields[string] | undefined): string {
  if (typeof value !== "string") return String(value);
  const text = shortened(value);
  return /^[\w./:@*+%,#-]+$/.test(text) ? text : escaped(JSON.stringify(text));
}

function localTime(now: Date): string {
  const two = (number: number, digits = 2) => String(number).padStart(digits, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
  return `${day} ${time}.${two(now.getMilliseconds(), 3)}`;
}

const DROPPED = "log lines were dropped, because nothing read them";

let standardError: LineWriter | null = null;

function toStandardError(report: (dropped: number) => string): (line: string) => void {
  const writer = new LineWriter(2, report);
  standardError = writer;
  return (line) => writer.write(line);
}

/** Resolves when all lines are written, or after `ms` where nothing reads them. For the end of the process. */
export async function flushLog(ms: number): Promise<void> {
  await standardError?.flush(ms);
}

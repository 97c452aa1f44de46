import { isatty } from "node:tty";
import { LineWriter } from "./process/standard-error.ts";

/** Writes one line per entry. `fields` are short and never contain a secret, a token or the query of a URL. */
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
  /** Minimum level; entries below it are not formatted. */
  readonly level: Level;
  /** `text`: local time; `json`: `{"time","level","message",...fields}`, UTC. */
  readonly format: "text" | "json";
  /** Whether levels are coloured in `text`. */
  readonly color?: boolean;
  /** Writes a line with its line break. Default: standard error, non-blocking; unread lines are dropped and counted. */
  readonly write?: (line: string) => void;
}

/** Creates a log. Entries are always one line without control characters, so that values cannot forge lines. */
export function createLog(options: LogOptions): Log {
  const { level: minimum } = options;
  const line = options.format === "json" ? jsonLine : textLine(options.color ?? false);
  const write = options.write ?? toStandardError((dropped) => `${line("warn", DROPPED, { dropped })}\n`);
  const at = (level: Level): Log["info"] =>
    LEVELS.indexOf(level) < LEVELS.indexOf(minimum)
      ? () => {}
      : (message, fields) => write(`${line(level, message, fields)}\n`);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** A log whose entries all have some fields more. */
export function withFields(log: Log, more: Fields): Log {
  return {
    debug: (message, fields) => log.debug(message, { ...fields, ...more }),
    info: (message, fields) => log.info(message, { ...fields, ...more }),
    warn: (message, fields) => log.warn(message, { ...fields, ...more }),
    error: (message, fields) => log.error(message, { ...fields, ...more }),
  };
}

/** Whether standard error is a terminal with colours. */
export function standardErrorHasColor(env: Readonly<Record<string, string | undefined>>): boolean {
  return isatty(2) && !env.NO_COLOR && env.TERM !== "dumb";
}

/**
 * Limits the rate of a log line: the first call reports at once, later calls are counted, and the first call after `ms` reports
 * the number of calls since the last report.
 */
export function atMostOncePer(ms: number, report: (times: number) => void): () => void {
  let next = Number.NEGATIVE_INFINITY;
  let times = 0;
  return () => {
    times++;
    const now = performance.now();
    if (now < next) return;
    next = now + ms;
    const since = times;
    times = 0;
    report(since);
  };
}

/** Maximum length of a message or value, characters; longer text is truncated. */
const MAX_TEXT = 500;

function shortened(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}

/** Control characters, line separators and direction marks: always escaped. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Escapes external text: one line without control characters. */
export function escaped(text: string): string {
  return text.replace(UNPRINTABLE, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function jsonLine(level: Level, message: string, fields?: Fields): string {
  const entry = { time: new Date().toISOString(), level, message, ...fields };
  // JSON has these characters only inside strings, and uses the same escapes there.
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

/** Formats a value; text is quoted unless it is a plain word, address or path. */
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

const DROPPED = "log lines dropped: standard error is blocked";

let standardError: LineWriter | null = null;

function toStandardError(report: (dropped: number) => string): (line: string) => void {
  const writer = new LineWriter(2, report);
  standardError = writer;
  return (line) => writer.write(line);
}

/** Resolves when all lines are written, or after `ms`. Call it before the process exits. */
export async function flushLog(ms: number): Promise<void> {
  await standardError?.flush(ms);
}

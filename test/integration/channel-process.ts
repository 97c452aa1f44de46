import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Inbox, short } from "./inbox.ts";

/** One line of the log (`--log-format json`). A line that is no JSON object has level `"unparsed"`. */
export interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface ChannelOptions {
  /** Flags, after the ones that every test needs. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Text of a `channel.toml` in the working folder. */
  readonly toml?: string;
  /** Port. Default: a free port. */
  readonly port?: number;
  /** A command that executes the server: `["prlimit", "--nofile=256"]`. */
  readonly under?: readonly string[];
  /** The executable. Default: `channelBinary()`. */
  readonly binary?: string;
  /** Working folder. Default: an empty temporary folder, removed at the end. */
  readonly cwd?: string;
}

/** A running `channel`. */
export interface ChannelProcess {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** The log lines up to now. */
  readonly lines: readonly LogLine[];
  /** The log, to wait for lines. */
  readonly log: Inbox<LogLine>;
  /** Unparsed standard output and standard error up to now. */
  output(): string;
  /** Sends SIGTERM, then SIGKILL after 10 s. Resolves to the exit code, -1 if it was killed. Safe to call twice. */
  stop(): Promise<number>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves to the exit code. */
  readonly exited: Promise<number>;
}

/** Startup timeout in ms, enough for a busy machine. */
const STARTUP_MS = 60_000;

const running = new Set<{ kill(signal: NodeJS.Signals): void }>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** The executable under test: `CHANNEL_BIN`, else `dist/channel`. */
export function channelBinary(): string {
  return resolve(process.env.CHANNEL_BIN ?? join(import.meta.dir, "../../dist/channel"));
}

/**
 * Starts the compiled executable and waits until it listens. Its environment and its folder are empty, so that the
 * machine does not influence a test. Rejects with its output if it does not start.
 */
export async function startChannel(options: ChannelOptions = {}): Promise<ChannelProcess> {
  const made = options.cwd === undefined ? await mkdtemp(join(tmpdir(), "channel-test-")) : null;
  const cwd = options.cwd ?? made ?? ".";
  if (options.toml !== undefined) await writeFile(join(cwd, "channel.toml"), options.toml, { mode: 0o600 });

  const child = Bun.spawn(
    [
      ...(options.under ?? []),
      ...[options.binary ?? channelBinary(), "--port", String(options.port ?? 0), "--log-format", "json"],
      ...(options.args ?? []),
    ],
    {
      cwd,
      env: { PATH: process.env.PATH ?? "", HOME: cwd, TZ: process.env.TZ ?? "UTC", ...options.env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  running.add(child);
  const log = new Inbox<LogLine>("log", (line) => short(JSON.stringify(line)));
  const output: string[] = [];
  const reading = Promise.all([
    readLines(child.stderr, (line) => {
      output.push(line);
      log.put(parseLine(line));
    }),
    readLines(child.stdout, (line) => output.push(line)),
  ]);
  const exited = (async () => {
    const code = await child.exited;
    running.delete(child);
    await reading;
    log.end(`the process ended with ${code}`);
    if (made !== null) await rm(made, { recursive: true, force: true });
    return code;
  })();

  const stop = async (): Promise<number> => {
    if (child.exitCode === null) child.kill("SIGTERM");
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      child.kill("SIGKILL");
    }, 10_000);
    const code = await exited;
    clearTimeout(timer);
    return killed ? -1 : code;
  };

  let url: URL;
  try {
    const line = await log.until((each) => each.message === "listening", "message listening", STARTUP_MS);
    if (typeof line.url !== "string") throw new Error("the line that says listening has no url");
    url = new URL(line.url);
  } catch (error) {
    await stop();
    throw new Error(`channel did not start: ${String(error)}\n${output.join("\n")}`);
  }

  return {
    url: `http://127.0.0.1:${url.port}`,
    port: Number(url.port),
    pid: child.pid,
    lines: log.all,
    log,
    output: () => output.join("\n"),
    stop,
    kill: (signal) => child.kill(signal),
    exited,
  };
}

function parseLine(line: string): LogLine {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null && "message" in value && "level" in value) {
      const time = "time" in value ? String(value.time) : "";
      return { ...value, time, level: String(value.level), message: String(value.message) };
    }
  } catch {
    // Fall through: tests look for lines of level "unparsed".
  }
  return { time: "", level: "unparsed", message: line };
}

async function readLines(stream: ReadableStream<Uint8Array>, line: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) line(part);
  }
  if (rest !== "") line(rest);
}

import { tmpdir } from "node:os";
import { Inbox, short } from "../inbox.ts";

/** A program that a test starts and ends. */
export interface Program {
  /** What it writes, line by line, standard output and standard error mixed. */
  readonly lines: Inbox<string>;
  readonly isRunning: boolean;
  /** Writes a line to its standard input. */
  say(line: string): void;
  /** Ends it, and what it started, by a signal; by SIGKILL if it is still there after 5 s. Safe to call twice. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface ProgramOptions {
  /** Besides PATH, and HOME, which is the working folder. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const STOP_MS = 5_000;

export function startProgram(command: string[], options: ProgramOptions = {}): Program {
  const cwd = options.cwd ?? tmpdir();
  const child = Bun.spawn(command, {
    cwd,
    env: { PATH: process.env.PATH ?? "", HOME: cwd, ...options.env },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    // A group of its own, so that what a shell starts ends with it.
    detached: true,
  });
  const lines = new Inbox<string>(short(command.join(" ")), short);
  const read = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) lines.put(part);
    }
    if (rest !== "") lines.put(rest);
  };
  const signalAll = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It has ended by itself.
    }
  };
  const atExit = (): void => signalAll("SIGKILL");
  process.on("exit", atExit);
  let isRunning = true;
  const ended = Promise.all([child.exited, read(child.stdout), read(child.stderr)]).then(([code]) => {
    isRunning = false;
    process.off("exit", atExit);
    lines.end(`it ended with ${code}`);
  });
  return {
    lines,
    get isRunning() {
      return isRunning;
    },
    say: (line) => {
      child.stdin.write(`${line}\n`);
      child.stdin.flush();
    },
    stop: async (signal = "SIGKILL") => {
      if (!isRunning) return;
      signalAll(signal);
      const timer = setTimeout(() => signalAll("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** What a command prints to standard output; throws what it complains of where it fails. */
export async function outputOf(command: string[], options: ProgramOptions = {}): Promise<string> {
  const child = Bun.spawn(command, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { PATH: process.env.PATH ?? "", ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [code, output, errors] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (code !== 0) throw new Error(`${command.join(" ")}\nended with ${code}: ${errors}`);
  return output;
}

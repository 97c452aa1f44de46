import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { channelBinary } from "./channel-process.ts";
import { Inbox } from "./inbox.ts";

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface CommandOptions {
  /** Working folder. */
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
}

/** Runs the executable to its end, with an empty environment. */
export async function runCommand(args: readonly string[], options: CommandOptions): Promise<Ended> {
  const { cwd, env = {}, input } = options;
  const child = Bun.spawn([channelBinary(), ...args], {
    cwd,
    env,
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
    timeout: 60_000,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

/** A command that runs until it is ended. */
export interface RunningCommand {
  /** Lines of standard error, without the program's name. */
  readonly errors: Inbox<string>;
  /** Lines of standard output. */
  readonly lines: Inbox<string>;
  /** Ends it by SIGINT; resolves to the exit code. */
  end(): Promise<number>;
  readonly exited: Promise<number>;
  kill(): void;
}

export function startCommand(args: readonly string[], cwd: string): RunningCommand {
  const child = Bun.spawn([channelBinary(), ...args], {
    cwd,
    env: {},
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  return {
    errors: linesOf(child.stderr),
    lines: linesOf(child.stdout),
    exited: child.exited,
    end() {
      child.kill("SIGINT");
      return child.exited;
    },
    kill: () => child.kill("SIGKILL"),
  };
}

function linesOf(stream: ReadableStream<Uint8Array>): Inbox<string> {
  const lines = new Inbox<string>("the command", (line) => line);
  void (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) lines.put(line.replace(/^channel: /, ""));
    }
    lines.end("it ended");
  })();
  return lines;
}

/** Temporary folders, removed by `remove`. */
export class Folders {
  readonly #made: string[] = [];

  create(): string {
    const folder = mkdtempSync(join(tmpdir(), "channel-cli-"));
    this.#made.push(folder);
    return folder;
  }

  remove(): void {
    for (const folder of this.#made.splice(0)) rmSync(folder, { recursive: true, force: true });
  }
}

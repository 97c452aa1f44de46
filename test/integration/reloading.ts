import { readdirSync, readFileSync } from "node:fs";
import {
  type ChannelOptions,
  type ChannelProcess,
  channelBinary,
  type LogLine,
  startChannel,
} from "./channel-process.ts";
import { eventually } from "./phoenix-client.ts";
import { type RedisProcess, startRedis } from "./redis-process.ts";
import { ADMIN_SECRET, SECRET } from "./world.ts";

/** A server that is replaced by successors, and its Redis. */
export interface ReloadingServer {
  /** The first process. Its log has the lines of its successors too. */
  readonly channel: ChannelProcess;
  readonly redis: RedisProcess;
  /** The process that serves now. */
  readonly pid: number;
  /** Runs `channel reload`; resolves to `"<exit code>: <standard error>"`. */
  reload(...args: readonly string[]): Promise<string>;
  /** Sends SIGHUP to the process that serves, and waits until it has started the reload. */
  hangUp(): Promise<void>;
  /** Waits until the port belongs to the newest process alone. */
  settled(): Promise<void>;
  /** All processes of this server, successors and those that end included. */
  processes(): number[];
  /** Ends the serving process. Resolves to whether all others have ended too. */
  stop(): Promise<void>;
}

export const SECRETS_TOML = `jwt_secret = "${SECRET}"\nadmin_secret = "${ADMIN_SECRET}"\n`;

export async function startReloading(options: ChannelOptions = {}): Promise<ReloadingServer> {
  const redis = await startRedis();
  let channel: ChannelProcess;
  try {
    channel = await startChannel({
      toml: SECRETS_TOML,
      ...options,
      args: ["--redis-url", redis.url, ...(options.args ?? [])],
    });
  } catch (error) {
    await redis.stop();
    throw error;
  }
  const newest = (): number => {
    const line = channel.lines.findLast(isComplete);
    return typeof line?.pid === "number" ? line.pid : channel.pid;
  };
  const processes = (): number[] => processesWith(redis.url);
  return {
    channel,
    redis,
    get pid() {
      return newest();
    },
    async reload(...args) {
      const before = channel.lines.filter(isComplete).length;
      for (;;) {
        const answer = await askToReload(channel, args);
        // The line that names the new process may come later than the answer.
        if (answer === "0: ") await channel.log.atLeast(before + 1, isComplete, "the reload");
        // A process that has just seen its predecessor end may need a moment until it accepts the next reload.
        if (processes().length > 1 || !answer.endsWith(INCOMPLETE)) return answer;
        await Bun.sleep(20);
      }
    },
    async hangUp() {
      for (;;) {
        signal(newest(), "SIGHUP");
        const { message } = await channel.log.until(
          (line) => line.message === "reload started" || line.message === "reload refused",
          "the answer to SIGHUP",
        );
        if (message === "reload started") return;
        await Bun.sleep(20);
      }
    },
    async settled() {
      await eventually(() => processes().length === 1, "that the replaced processes end");
    },
    processes,
    async stop() {
      // The newest one first: the others end by themselves.
      for (const pid of processes().reverse()) signal(pid, "SIGTERM");
      await eventually(() => processes().length === 0, "that all processes end").catch((error) => {
        for (const pid of processes()) signal(pid, "SIGKILL");
        throw error;
      });
      await channel.exited;
      await redis.stop();
    },
  };
}

const INCOMPLETE = "another reload is not yet complete";

const isComplete = ({ message }: LogLine): boolean => message.startsWith("reload complete");

/** Runs `channel reload`. Resolves to `<exit code>: <standard error>`. */
async function askToReload({ port }: ChannelProcess, args: readonly string[]): Promise<string> {
  const child = Bun.spawn([channelBinary(), "reload", "--port", String(port), ...args], {
    env: { PATH: process.env.PATH ?? "", ADMIN_SECRET },
    cwd: "/",
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const text = await new Response(child.stderr).text();
  return `${await child.exited}: ${text.trim()}`;
}

/** Processes with this argument, zombies excluded. */
function processesWith(argument: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(argument);
      } catch {
        return false;
      }
    })
    .sort((a, b) => a - b);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

import { readdirSync, readFileSync } from "node:fs";
import { type ChannelOptions, type ChannelProcess, channelBinary, startChannel } from "./channel-process.ts";
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
  /** Waits until the port belongs to the newest process alone, which can then be reloaded. */
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
    const line = channel.lines.findLast(({ message }) => message.startsWith("reload complete"));
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
      const child = Bun.spawn([channelBinary(), "reload", "--port", String(channel.port), ...args], {
        env: { PATH: process.env.PATH ?? "", ADMIN_SECRET },
        cwd: "/",
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
      });
      const text = await new Response(child.stderr).text();
      return `${await child.exited}: ${text.trim()}`;
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

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./redis-process.ts";

/** A real `rabbitmq-server` on loopback ports of its own, with its own data, cookie and epmd; ended with the test process. */
export interface RabbitProcess {
  readonly port: number;
  /** `amqp://127.0.0.1:<port>` */
  readonly url: string;
  /** Sends a signal to the broker: `SIGSTOP` and `SIGCONT` freeze and thaw, `SIGKILL` is a crash. */
  kill(signal: NodeJS.Signals): void;
  /** Starts the broker again on the same port, after `kill` or `down`; resolves when it accepts connections. */
  restart(): Promise<void>;
  /** Ends the broker and keeps port and data for `restart`. */
  down(): Promise<void>;
  /** Runs `rabbitmqctl`; returns what it prints. */
  control(...args: readonly string[]): Promise<string>;
  /** Ends the broker and its epmd, and removes its data. */
  stop(): Promise<void>;
}

/** Debian's programs: those in /usr/sbin change the user. */
const PROGRAMS = "/usr/lib/rabbitmq/bin";
const SERVER = join(PROGRAMS, "rabbitmq-server");
const READY = "Server startup complete";
const START_MS = 120_000;

/** Whether a broker can be started here; says once that it cannot. */
export const HAS_RABBIT = existsSync(SERVER) && Bun.which("epmd") !== null;
if (!HAS_RABBIT) {
  console.log(
    "rabbitmq-server is not installed (apt-get install rabbitmq-server): tests over AMQP are skipped",
  );
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** @param settings further lines of `rabbitmq.conf` */
export async function startRabbit(settings: readonly string[] = []): Promise<RabbitProcess> {
  const folder = mkdtempSync(join(tmpdir(), "channel-rabbit-"));
  const [port, epmdPort, nodePort] = [freePort(), freePort(), freePort()];
  for (const each of ["mnesia", "log"]) mkdirSync(join(folder, each));
  writeFileSync(join(folder, "plugins"), "[].");
  writeFileSync(
    join(folder, "rabbitmq.conf"),
    [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      "log.console = true",
      "log.file = false",
      "disk_free_limit.absolute = 1MB",
      "vm_memory_high_watermark.absolute = 1GB",
      ...settings,
      "",
    ].join("\n"),
  );
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    LANG: "C.UTF-8",
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: `channel${port}@localhost`,
    RABBITMQ_DIST_PORT: String(nodePort),
    RABBITMQ_CONF_ENV_FILE: join(folder, "none"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
    RABBITMQ_PLUGINS_EXPAND_DIR: join(folder, "expanded"),
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    // The script then replaces itself by the broker: signals reach it.
    detached: "1",
  };
  const epmd = Bun.spawn(["epmd", "-port", String(epmdPort), "-address", "127.0.0.1"], {
    env,
    stdio: ["ignore", "ignore", "ignore"],
  });
  track(epmd);
  let current: Child;
  const launch = async (): Promise<Child> => {
    const child = Bun.spawn([SERVER], {
      cwd: folder,
      env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    track(child);
    await untilReady(child);
    return child;
  };
  const end = async (): Promise<void> => {
    current.kill("SIGKILL");
    await current.exited;
  };
  const stop = async (): Promise<void> => {
    epmd.kill("SIGKILL");
    await epmd.exited;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    current = await launch();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    url: `amqp://127.0.0.1:${port}`,
    kill: (signal) => current.kill(signal),
    restart: async () => {
      await end();
      current = await launch();
    },
    down: end,
    control: async (...args) => {
      const done = Bun.spawn([join(PROGRAMS, "rabbitmqctl"), "--quiet", ...args], {
        cwd: folder,
        env,
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
      const [printed, errors, code] = await Promise.all([
        new Response(done.stdout).text(),
        new Response(done.stderr).text(),
        done.exited,
      ]);
      if (code !== 0) throw new Error(`rabbitmqctl ${args.join(" ")}: ${printed}${errors}`);
      return printed;
    },
    stop: async () => {
      await end();
      await stop();
    },
  };
}

function track(child: Bun.Subprocess): void {
  running.add(child);
  void child.exited.then(() => running.delete(child));
}

/** Reads what the broker prints for as long as it runs, so that a full pipe never stops it. */
async function untilReady(child: Child): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => child.kill("SIGKILL"), START_MS);
  void (async () => {
    const errors = new Response(child.stderr).text();
    const decoder = new TextDecoder();
    let printed = "";
    for await (const chunk of child.stdout) {
      printed = (printed + decoder.decode(chunk, { stream: true })).slice(-64 * 1024);
      if (printed.includes(READY)) resolve();
    }
    reject(new Error(`rabbitmq-server ended before it was ready:\n${printed}${await errors}`));
  })();
  await promise.finally(() => clearTimeout(timer));
}

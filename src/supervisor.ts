import { newSignInCode } from "./auth/admin.ts";
import type { Config } from "./config/config.ts";
import type { ReloadResult } from "./http/api/deps.ts";
import type { Log } from "./log.ts";
import type { Handover } from "./process/handover.ts";
import type { ReplaceablePort } from "./process/shared-port.ts";
import { createMachineFolder, removeMachineFolder } from "./process/workers/machine-folder.ts";
import type { Incarnations, WorkerStart } from "./process/workers/messages.ts";
import { SharedMemory } from "./process/workers/shared-memory.ts";
import { WorkerProcess } from "./process/workers/worker-process.ts";
import { NO_SECRET, type RunningServer } from "./server.ts";

/** Delay (ms) before a worker is started again: the first, and the longest, of one that fails again and again. */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 10_000;

/** ms that a worker has to live, for the next delay to be the first again. */
const STABLE_AFTER = 30_000;

export interface SupervisorOptions {
  readonly config: Config;
  /** Workers, at least 2. */
  readonly count: number;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly handover: Omit<Handover, "port">;
  /** Whether another server is replaced: workers then listen when all are subscribed, and may. */
  readonly replaces: boolean;
  readonly mayListen: () => Promise<void>;
  readonly reload: () => Promise<ReloadResult>;
}

/** Why the workers do not start; `code` as in errors of the runtime. */
class WorkerError extends Error {
  readonly code: string;

  constructor(reason: string, code: string) {
    super(reason);
    this.code = code;
  }
}

/** Starts processes that serve on one port, each a server of the fleet, and starts those again that end. */
export class Supervisor implements RunningServer {
  readonly busKind = "redis";
  readonly #options: SupervisorOptions;
  readonly #folder = createMachineFolder();
  readonly #memory: SharedMemory;
  readonly #shared: Pick<WorkerStart, "secret" | "signInCode">;
  readonly #workers = new Map<number, WorkerProcess>();
  /** Of each worker, by its number: all incarnations, times that it ended early, and the timer of its next start. */
  readonly #incarnations = new Map<number, readonly string[]>();
  readonly #failures = new Map<number, number>();
  readonly #timers = new Map<number, Timer>();
  readonly #killAll = () => {
    for (const worker of this.#workers.values()) worker.kill();
    removeMachineFolder(this.#folder);
  };
  #url = "";
  #port = 0;
  #stopping = false;

  private constructor(options: SupervisorOptions) {
    this.#options = options;
    const { count, config } = options;
    this.#memory = SharedMemory.create(this.#folder, count);
    this.#shared = {
      secret: crypto.getRandomValues(new Uint8Array(32)).toHex(),
      signInCode: config.adminSecretGenerated ? newSignInCode() : null,
    };
    // Also at a second signal: no worker may be left.
    process.on("exit", this.#killAll);
  }

  /** Resolves when all workers serve. @throws Error with a `code` and one sentence for an operator if one does not */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    const supervisor = new Supervisor(options);
    try {
      await (options.replaces ? supervisor.#replace() : supervisor.#begin());
    } catch (error) {
      // They have no clients, and one that waits to listen would not stop by itself.
      for (const worker of supervisor.#workers.values()) worker.kill();
      await supervisor.stop();
      throw error;
    }
    const { count, log, config } = options;
    for (const worker of supervisor.#workers.values()) void supervisor.#watch(worker, performance.now());
    log.info("listening", { url: supervisor.url, bus: supervisor.busKind, workers: count });
    if (config.fleetSecrets.length === 0) log.info("not part of a fleet", { reason: NO_SECRET });
    return supervisor;
  }

  get url(): string {
    return this.#url;
  }

  get port(): number {
    return this.#port;
  }

  async succeeded(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.prepare()));
  }

  async stop(released?: () => void): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    const workers = [...this.#workers.values()];
    for (const worker of workers) worker.send({ type: "stop", replaced: released !== undefined });
    if (released !== undefined) void Promise.all(workers.map((worker) => worker.released)).then(released);
    await Promise.all(workers.map((worker) => worker.ended));
    process.off("exit", this.#killAll);
    removeMachineFolder(this.#folder);
  }

  /** The sockets of all workers, for a successor. */
  sharedPort(): ReplaceablePort {
    // Those of the successor have the next numbers.
    let next = this.#workers.size;
    return {
      share: () => {
        next = this.#workers.size;
        return true;
      },
      yield: async () => {
        const [any] = this.#workers.values();
        return (await any?.yieldTo(next)) ?? false;
      },
      reclaim: () => {
        for (const worker of this.#workers.values()) worker.send({ type: "reclaim" });
      },
    };
  }

  /** The first one finds out whether the port is free, and which one it is. */
  async #begin(): Promise<void> {
    const { count, config } = this.#options;
    await this.#serving(this.#spawn(1, config.port, false));
    for (let number = 2; number <= count; number++) this.#spawn(number, this.#port, true);
    await this.#allServing();
  }

  async #replace(): Promise<void> {
    const { count, config, mayListen } = this.#options;
    for (let number = 1; number <= count; number++) this.#spawn(number, config.port, true);
    const workers = [...this.#workers.values()];
    const failed = Promise.all(workers.map((worker) => this.#serving(worker)));
    await Promise.race([failed, Promise.all(workers.map((worker) => worker.subscribed))]);
    await mayListen();
    for (const worker of workers) worker.send({ type: "listen" });
    await failed;
  }

  async #allServing(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => this.#serving(worker)));
  }

  async #serving(worker: WorkerProcess): Promise<void> {
    const serving = await worker.serving;
    if (!serving.ok) throw new WorkerError(serving.reason, serving.code);
    this.#url = serving.url;
    this.#port = serving.port;
  }

  /** @param isFirst whether the worker starts together with the supervisor */
  #spawn(number: number, port: number, sharesPort: boolean, isFirst = true): WorkerProcess {
    const { count, config, env, handover, replaces, reload, log } = this.#options;
    const worker = new WorkerProcess({
      start: {
        ...{ number, count, folder: this.#folder, ...this.#shared, sharesPort },
        config: { ...config, port },
        handover: { ...handover, port },
        replaces: replaces && isFirst,
      },
      env,
      announced: (own) => {
        this.#incarnations.set(number, own);
        this.#tellIncarnations();
      },
      reload,
      hangs: () => log.error("worker does not answer, it is killed", { worker: number, pid: worker.pid }),
    });
    this.#workers.set(number, worker);
    void worker.ended.then(() => this.#forget(worker));
    return worker;
  }

  #forget({ number }: WorkerProcess): void {
    this.#workers.delete(number);
    this.#incarnations.delete(number);
    this.#memory.clear(number);
    this.#tellIncarnations();
  }

  #tellIncarnations(): void {
    const incarnations: Incarnations = Object.fromEntries(
      [...this.#incarnations].flatMap(([number, own]) => own.map((each) => [each, number])),
    );
    for (const worker of this.#workers.values()) worker.send({ type: "incarnations", incarnations });
  }

  /** Starts a worker again when it has ended. @param startedAt `performance.now()` */
  async #watch(worker: WorkerProcess, startedAt: number): Promise<void> {
    const how = await worker.ended;
    if (this.#stopping) return;
    const { number, pid } = worker;
    const { log } = this.#options;
    const isStable = performance.now() - startedAt > STABLE_AFTER;
    const failures = isStable ? 0 : (this.#failures.get(number) ?? 0);
    this.#failures.set(number, failures + 1);
    const delay = Math.min(FIRST_DELAY * 2 ** failures, LONGEST_DELAY);
    log.error("worker ended, it is started again", { worker: number, pid, how, delay_ms: delay });
    this.#timers.set(
      number,
      setTimeout(() => void this.#restart(number), delay),
    );
  }

  async #restart(number: number): Promise<void> {
    const { log } = this.#options;
    const worker = this.#spawn(number, this.#port, true, false);
    void this.#watch(worker, performance.now());
    const serving = await worker.serving;
    if (serving.ok) log.info("worker serves again", { worker: number, pid: worker.pid });
    else if (!this.#stopping) log.error("worker did not start", { worker: number, reason: serving.reason });
  }
}

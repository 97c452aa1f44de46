import {
  ALIVE_INTERVAL,
  type FromWorker,
  isFromWorker,
  type ReloadAnswer,
  type ToWorker,
  WORKER_VARIABLE,
  type WorkerStart,
} from "./messages.ts";

/** Time (ms) after the end of a worker in which its last message arrives. */
const LAST_MESSAGE = 100;

/** Intervals without a sign of life after which a worker hangs: 20 s. */
const SILENT_INTERVALS = 10;

export type WorkerServing =
  | { readonly ok: true; readonly url: string; readonly port: number }
  /** `code` as in errors of the runtime; empty for others. */
  | { readonly ok: false; readonly reason: string; readonly code: string };

export interface WorkerOptions {
  readonly start: WorkerStart;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called with all incarnations of the worker. */
  readonly announced: (own: readonly string[]) => void;
  /** Replaces the whole machine. */
  readonly reload: () => Promise<ReloadAnswer>;
  /** Called when it has given no sign of life for 20 s; it is killed then. */
  readonly hangs: () => void;
}

/** A process that serves, as the supervisor sees it. */
export class WorkerProcess {
  readonly number: number;
  /** Resolves when it serves, or does not. */
  readonly serving: Promise<WorkerServing>;
  /** Resolves when its bus is live, or when it has ended. */
  readonly subscribed: Promise<void>;
  /** Resolves when it has closed its listening sockets, or has ended. */
  readonly released: Promise<void>;
  /** Resolves to how it ended: `code 1`, `SIGKILL`. */
  readonly ended: Promise<string>;
  readonly #serving = Promise.withResolvers<WorkerServing>();
  readonly #subscribed = Promise.withResolvers<void>();
  readonly #released = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<string>();
  readonly #options: WorkerOptions;
  readonly #child: Bun.Subprocess<"inherit", "inherit", "inherit">;
  #prepared: (() => void)[] = [];
  #yielded: ((ok: boolean) => void)[] = [];
  /** Counted, not timed: a machine that was suspended is not taken for a worker that hangs. */
  #silent = 0;
  readonly #pulse: Timer;

  /** Starts it. It inherits standard input, output and error. */
  constructor(options: WorkerOptions) {
    this.#options = options;
    this.number = options.start.number;
    this.serving = this.#serving.promise;
    this.subscribed = this.#subscribed.promise;
    this.released = this.#released.promise;
    this.ended = this.#ended.promise;
    this.#child = Bun.spawn(ownExecutable(), {
      argv0: process.argv0,
      // The supervisor alone reports to the service manager.
      env: { ...options.env, NOTIFY_SOCKET: undefined, [WORKER_VARIABLE]: "1" },
      stdio: ["inherit", "inherit", "inherit"],
      serialization: "advanced",
      ipc: (message) => {
        if (isFromWorker(message)) this.#received(message);
      },
      onExit: (_, code, signal) => void setTimeout(() => this.#end(howEnded(code, signal)), LAST_MESSAGE),
    });
    this.#pulse = setInterval(() => this.#checkPulse(), ALIVE_INTERVAL);
  }

  get pid(): number {
    return this.#child.pid;
  }

  send(message: ToWorker): void {
    try {
      this.#child.send(message);
    } catch {
      // It has ended: `ended` resolves.
    }
  }

  /** Resolves when its clients are prepared for a successor of the machine, or when it has ended. */
  prepare(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#prepared.push(resolve);
    this.send({ type: "prepare" });
    return Promise.race([promise, this.ended.then(() => {})]);
  }

  /** Gives new connections to a socket of the port, by its number. Resolves to whether the system can. */
  yieldTo(to: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#yielded.push(resolve);
    this.send({ type: "yield", to });
    return Promise.race([promise, this.ended.then(() => false)]);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #checkPulse(): void {
    this.#silent++;
    if (this.#silent !== SILENT_INTERVALS) return;
    this.#options.hangs();
    this.kill();
  }

  #received(message: FromWorker): void {
    const { start, announced, reload } = this.#options;
    this.#silent = 0;
    if (message.type === "started") this.send({ type: "start", start });
    else if (message.type === "incarnations") announced(message.own);
    else if (message.type === "subscribed") this.#subscribed.resolve();
    else if (message.type === "serving")
      this.#serving.resolve({ ok: true, url: message.url, port: message.port });
    else if (message.type === "failed")
      this.#serving.resolve({ ok: false, reason: message.reason, code: message.code });
    else if (message.type === "prepared") this.#prepared.shift()?.();
    else if (message.type === "yielded") this.#yielded.shift()?.(message.ok);
    else if (message.type === "released") this.#released.resolve();
    else if (message.type === "reload")
      void reload().then((answer) => this.send({ type: "reloaded", answer }));
  }

  #end(how: string): void {
    clearInterval(this.#pulse);
    this.#serving.resolve({ ok: false, reason: `it ended with ${how}`, code: "" });
    this.#subscribed.resolve();
    this.#released.resolve();
    this.#ended.resolve(how);
  }
}

/** The executable that runs, also where another one was installed at its path meanwhile. */
function ownExecutable(): string[] {
  const path = process.platform === "linux" ? `/proc/${process.pid}/exe` : process.execPath;
  // Run from source, the executable is the runtime.
  return Bun.main.startsWith("/$bunfs/") ? [path, "serve"] : [path, Bun.main, "serve"];
}

function howEnded(code: number | null, signal: number | string | null): string {
  if (signal === null) return `code ${code}`;
  return typeof signal === "string" ? signal : `signal ${signal}`;
}

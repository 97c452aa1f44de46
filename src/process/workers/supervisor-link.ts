import {
  ALIVE_INTERVAL,
  type FromWorker,
  type Incarnations,
  isToWorker,
  type ReloadAnswer,
  WORKER_VARIABLE,
  type WorkerStart,
} from "./messages.ts";

/** The supervisor, as a worker sees it. */
export interface SupervisorLink {
  /** `null`: it has ended. */
  readonly start: Promise<WorkerStart | null>;
  /** Resolves when this worker is to stop; `ended`: the supervisor is gone. */
  readonly stop: Promise<"stop" | "replaced" | "ended">;
  /** The number of the worker that has or had an incarnation; `null` if there is none. */
  workerOf(incarnation: string): number | null;
  /** Called before the machine is replaced; see `RunningServer.succeeded`. */
  prepare: (() => Promise<void>) | null;
  /** Called to give new connections to another socket of the port, and to take that back. */
  yieldTo: ((to: number) => Promise<boolean>) | null;
  reclaim: (() => void) | null;
  /** All incarnations of this worker. */
  announce(own: readonly string[]): void;
  /** The bus of this worker is live. Resolves when it may listen, or if the supervisor has ended. */
  subscribed(): Promise<void>;
  serving(url: string, port: number): void;
  /** Resolves when the reason is sent. */
  failed(reason: string, code: string): Promise<void>;
  released(): void;
  /** Replaces all workers and the supervisor. */
  reload(): Promise<ReloadAnswer>;
}

const SUPERVISOR_ENDED: ReloadAnswer = { ok: false, reason: "the supervisor of the workers has ended" };

/** `null` for a process that is no worker. To be called before anything else reads `env`. */
export function findSupervisor(env: Record<string, string | undefined>): SupervisorLink | null {
  if (env[WORKER_VARIABLE] === undefined || process.send === undefined) return null;
  delete env[WORKER_VARIABLE];
  const start = Promise.withResolvers<WorkerStart | null>();
  const stop = Promise.withResolvers<"stop" | "replaced" | "ended">();
  const listen = Promise.withResolvers<void>();
  let incarnations: Incarnations = {};
  let reloads: ((answer: ReloadAnswer) => void)[] = [];
  const endReloads = (answer: ReloadAnswer): void => {
    for (const resolve of reloads) resolve(answer);
    reloads = [];
  };
  const link: SupervisorLink = {
    start: start.promise,
    stop: stop.promise,
    prepare: null,
    yieldTo: null,
    reclaim: null,
    workerOf: (incarnation) =>
      Object.hasOwn(incarnations, incarnation) ? (incarnations[incarnation] ?? null) : null,
    announce: (own) => void send({ type: "incarnations", own }),
    async subscribed() {
      void send({ type: "subscribed" });
      await listen.promise;
    },
    serving: (url, port) => void send({ type: "serving", url, port }),
    failed: (reason, code) => send({ type: "failed", reason, code }),
    released: () => void send({ type: "released" }),
    reload() {
      if (!process.connected) return Promise.resolve(SUPERVISOR_ENDED);
      const { promise, resolve } = Promise.withResolvers<ReloadAnswer>();
      reloads.push(resolve);
      if (reloads.length === 1) void send({ type: "reload" });
      return promise;
    },
  };
  process.on("message", (message: unknown) => {
    if (!isToWorker(message)) return;
    if (message.type === "start") start.resolve(message.start);
    else if (message.type === "listen") listen.resolve();
    else if (message.type === "incarnations") incarnations = message.incarnations;
    else if (message.type === "prepare")
      void Promise.resolve(link.prepare?.()).then(() => send({ type: "prepared" }));
    else if (message.type === "yield")
      void Promise.resolve(link.yieldTo?.(message.to)).then((ok = false) => send({ type: "yielded", ok }));
    else if (message.type === "reclaim") link.reclaim?.();
    else if (message.type === "reloaded") endReloads(message.answer);
    else stop.resolve(message.replaced ? "replaced" : "stop");
  });
  process.on("disconnect", () => {
    start.resolve(null);
    listen.resolve();
    stop.resolve("ended");
    endReloads(SUPERVISOR_ENDED);
  });
  void send({ type: "started" });
  setInterval(() => void send({ type: "alive" }), ALIVE_INTERVAL).unref();
  return link;
}

function send(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve();
    process.send(message, undefined, undefined, () => resolve());
  });
}

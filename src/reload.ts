import type { BusKind } from "./bus/bus.ts";
import type { ReloadResult } from "./http/api/deps.ts";
import type { Log } from "./log.ts";
import type { Handover } from "./process/handover.ts";
import type { OwnCommand } from "./process/own-command.ts";
import type { Predecessor } from "./process/predecessor.ts";
import type { ReplaceablePort } from "./process/shared-port.ts";
import { type Successor, startSuccessor } from "./process/successor.ts";
import type { Notifier } from "./process/systemd-notify.ts";

export interface ReloadOptions {
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `null` where it is unknown. */
  readonly command: OwnCommand | null;
  readonly notifier: Notifier;
  readonly handover: Handover;
  readonly bus: BusKind;
  /** The listening sockets of this server; `null` where they cannot be shared. */
  readonly port: () => Promise<ReplaceablePort | null>;
  /** Called when the successor receives the messages of the bus, before it listens. */
  readonly subscribed: () => Promise<void>;
  /** The server that this one replaces or has replaced. */
  readonly predecessor: Predecessor | null;
}

const STOPPING = "the server is stopping";
const INCOMPLETE = "another reload is not yet complete";

/** Replaces this server by a new process without a time in which no process listens. */
export class Reload {
  /** Resolves when the successor has replaced this server, which then drains. */
  readonly replaced: Promise<Successor>;
  readonly #replaced = Promise.withResolvers<Successor>();
  readonly #options: ReloadOptions;
  #successor: Successor | null = null;
  #stopping = false;
  /** Why no reload can start now; `null` if one can. */
  #busy: string | null = null;

  constructor(options: ReloadOptions) {
    const { predecessor, port } = options;
    this.#options = options;
    this.replaced = this.#replaced.promise;
    if (predecessor === null) return;
    this.#busy = INCOMPLETE;
    void predecessor.released.then(async () => {
      (await port())?.reclaim();
      this.#busy = null;
    });
  }

  /** Starts the successor and waits until it serves. Never rejects: on failure this server goes on serving. */
  async run(): Promise<ReloadResult> {
    const { log } = this.#options;
    const refusal = this.#refusal();
    if (refusal !== null) {
      log.warn("reload refused", { reason: refusal });
      return { ok: false, reason: refusal };
    }
    this.#busy = INCOMPLETE;
    log.info("reload started");
    const startedAt = performance.now();
    const result = await this.#replace();
    if (typeof result === "object") {
      const ms = Math.round(performance.now() - startedAt);
      log.info("reload complete, the new process serves", { pid: result.pid, ms });
      this.#replaced.resolve(result);
      return { ok: true, pid: result.pid };
    }
    this.#busy = null;
    log.error("reload failed, this process continues to serve", { reason: result });
    return { ok: false, reason: result };
  }

  /** To be called when the server stops: ends a successor that has not replaced it. */
  cancel(): void {
    this.#stopping = true;
    this.#successor?.stop();
  }

  #refusal(): string | null {
    const { bus, command } = this.#options;
    if (process.platform !== "linux") return "only Linux supports a reload: restart the server";
    if (process.pid === 1)
      return "this is process 1 of a container, which ends with it: replace the container instead";
    if (bus === "embedded")
      return "the embedded bus ends with its process: restart the server, or use a Redis";
    if (command === null) return "the command line of this process is unknown: restart the server";
    return this.#stopping ? STOPPING : this.#busy;
  }

  /** Resolves to the process that has replaced this one, or the reason why none has. */
  async #replace(): Promise<Successor | string> {
    const { command, env, handover, subscribed } = this.#options;
    const port = await this.#options.port();
    if (command === null || port === null || !port.share())
      return "this system does not let two processes listen on one port";
    const successor = start(command, env, handover, subscribed);
    let failure = typeof successor === "string" ? successor : null;
    if (typeof successor === "object") {
      this.#successor = successor;
      failure = await this.#handOver(successor, port);
      this.#successor = null;
      if (failure === null) return successor;
      successor.stop();
    }
    port.reclaim();
    return failure ?? "";
  }

  /** Resolves to the reason if the successor does not replace this process. */
  async #handOver(successor: Successor, port: ReplaceablePort): Promise<string | null> {
    const serving = await successor.serving;
    if (!serving.ok) return serving.reason;
    if (!(await this.#options.notifier.replacedBy(successor.pid, `listening on ${serving.url}`)))
      return "systemd did not accept the new process (systemd-notify failed)";
    if (this.#stopping) return STOPPING;
    // Where this is not possible, connections that wait when this process closes the port are reset.
    await port.yield();
    successor.confirm();
    return null;
  }
}

function start(
  command: OwnCommand,
  env: ReloadOptions["env"],
  handover: Handover,
  subscribed: () => Promise<void>,
): Successor | string {
  try {
    return startSuccessor(command, env, handover, subscribed);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return `cannot execute ${command.path}: ${EXECUTION_ERRORS[code] ?? code}`;
  }
}

const EXECUTION_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  ENOEXEC: "not an executable of this machine",
};

import {
  type FromSuccessor,
  type Handover,
  parseFromSuccessor,
  SUCCESSOR_VARIABLE,
  type ToSuccessor,
} from "./handover.ts";
import type { OwnCommand } from "./own-command.ts";

/** Time (ms) in which a successor must serve, or name the reason why it does not. It gives up earlier itself. */
const TIMEOUT = 35_000;

/** Delay (ms) after its end, in which its last message arrives. */
const LAST_MESSAGE = 100;

/** Time (ms) between SIGTERM and SIGKILL for a successor that is not needed. */
const KILL_AFTER = 5000;

export type Serving =
  | { readonly ok: true; readonly url: string }
  | { readonly ok: false; readonly reason: string };

/** The process that is to replace this one. */
export interface Successor {
  readonly pid: number;
  /** Resolves when it serves, or has failed. */
  readonly serving: Promise<Serving>;
  /** It replaces this process from now on. */
  confirm(): void;
  /** This process has closed its listening sockets. */
  release(): void;
  /** Ends it. Only before `confirm`. */
  stop(): void;
}

/**
 * Starts the successor, which inherits standard input, output and error.
 * @param subscribed called when its bus is live; it listens when this has resolved
 * @throws Error with a `code` if there is no such executable
 */
export function startSuccessor(
  { path, name, args, cwd }: OwnCommand,
  env: Readonly<Record<string, string | undefined>>,
  handover: Handover,
  subscribed: () => Promise<void>,
): Successor {
  const { promise, resolve } = Promise.withResolvers<Serving>();
  const fail = (reason: string): void => resolve({ ok: false, reason });
  const timer = setTimeout(() => fail(`the new process does not serve after ${TIMEOUT / 1000} s`), TIMEOUT);
  const received = (message: FromSuccessor): void => {
    if (message.type === "started") send({ type: "handover", handover });
    else if (message.type === "subscribed") void subscribed().then(() => send({ type: "listen" }));
    else if (message.type === "serving") resolve({ ok: true, url: message.url });
    else fail(message.reason);
  };
  const child = Bun.spawn([path, ...args], {
    argv0: name,
    cwd,
    env: { ...env, [SUCCESSOR_VARIABLE]: "1" },
    stdio: ["inherit", "inherit", "inherit"],
    serialization: "json",
    ipc(value) {
      const message = parseFromSuccessor(value);
      if (message !== null) received(message);
    },
    onExit(_, code, signal) {
      setTimeout(
        () => fail(`the new process ended with ${signal === null ? `code ${code}` : signalName(signal)}`),
        LAST_MESSAGE,
      );
    },
  });
  const send = (message: ToSuccessor): void => {
    try {
      child.send(message);
    } catch {
      // It has ended: `onExit` gives the reason.
    }
  };
  return {
    pid: child.pid,
    serving: promise.finally(() => clearTimeout(timer)),
    confirm: () => send({ type: "confirmed" }),
    release() {
      send({ type: "released" });
      child.unref();
    },
    stop() {
      child.kill("SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER);
      void child.exited.then(() => clearTimeout(kill));
    },
  };
}

function signalName(signal: number | string): string {
  return typeof signal === "string" ? signal : `signal ${signal}`;
}

import { type FromSuccessor, type Handover, parseToSuccessor, SUCCESSOR_VARIABLE } from "./handover.ts";

/** The server that this process is to replace. */
export interface Predecessor {
  /** `null`: it ended before. */
  readonly handover: Promise<Handover | null>;
  /** Whether this process replaces it. `false`: it ended before. */
  readonly confirmed: Promise<boolean>;
  /** Resolves when it has closed its listening sockets. */
  readonly released: Promise<void>;
  /** The bus of this server is live. Resolves when it may listen, or if the predecessor has ended. */
  subscribed(): Promise<void>;
  /** This server accepts connections. */
  serving(url: string): void;
  /** This server does not start. Resolves when the reason is sent. */
  failed(reason: string): Promise<void>;
}

/** `null` for a server that was not started by another one. To be called before the configuration is read from `env`. */
export function findPredecessor(env: Record<string, string | undefined>): Predecessor | null {
  if (env[SUCCESSOR_VARIABLE] === undefined || process.send === undefined) return null;
  delete env[SUCCESSOR_VARIABLE];
  const handover = Promise.withResolvers<Handover | null>();
  const listen = Promise.withResolvers<void>();
  const confirmed = Promise.withResolvers<boolean>();
  const released = Promise.withResolvers<void>();
  process.on("message", (value) => {
    const message = parseToSuccessor(value);
    if (message?.type === "handover") handover.resolve(message.handover);
    else if (message?.type === "listen") listen.resolve();
    else if (message?.type === "confirmed") confirmed.resolve(true);
    else if (message?.type === "released") {
      released.resolve();
      process.disconnect?.();
    }
  });
  process.on("disconnect", () => {
    handover.resolve(null);
    listen.resolve();
    confirmed.resolve(false);
    released.resolve();
  });
  send({ type: "started" });
  return {
    handover: handover.promise,
    confirmed: confirmed.promise,
    released: released.promise,
    async subscribed() {
      void send({ type: "subscribed" });
      await listen.promise;
    },
    serving: (url) => void send({ type: "serving", url }),
    failed: (reason) => send({ type: "failed", reason }),
  };
}

function send(message: FromSuccessor): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve();
    process.send(message, undefined, undefined, () => resolve());
  });
}

import type { Log } from "../log.ts";

/** Reports the state of the server to the service manager. */
export interface Notifier {
  /** The server listens; `status` is one line for `systemctl status`. */
  ready(status: string): void;
  /**
   * Another process is the main process of the service from now on. Resolves to whether the service manager has accepted it, which
   * must be before this process ends.
   */
  replacedBy(pid: number, status: string): Promise<boolean>;
  /** The server is stopping. */
  stopping(): Promise<void>;
}

const NO_NOTIFIER: Notifier = { ready() {}, replacedBy: async () => true, async stopping() {} };

/**
 * Implements sd_notify(3) if `NOTIFY_SOCKET` is set. Uses the program `systemd-notify`, because the runtime has no unix datagram
 * sockets: the unit needs `NotifyAccess=all`.
 */
export function createNotifier(env: Readonly<Record<string, string | undefined>>, log: Log): Notifier {
  const { NOTIFY_SOCKET: socket } = env;
  if (socket === undefined || socket === "") return NO_NOTIFIER;
  const program = Bun.which("systemd-notify");
  if (program === null) {
    log.warn("NOTIFY_SOCKET is set but systemd-notify is not installed: the service manager is not notified");
    return NO_NOTIFIER;
  }
  /** Returns when the manager has read the message (`systemd-notify` waits for that). */
  const notify = async (...states: readonly string[]): Promise<boolean> => {
    const child = Bun.spawn([program, ...states], {
      env: { ...env },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    const accepted = (await child.exited) === 0;
    if (!accepted) log.warn("systemd-notify failed", { states: states.join(" ") });
    return accepted;
  };
  return {
    ready: (status) => void notify("READY=1", `MAINPID=${process.pid}`, `STATUS=${status}`),
    replacedBy: (pid, status) => notify(`MAINPID=${pid}`, `STATUS=${status}`),
    async stopping() {
      await notify("STOPPING=1", "STATUS=draining clients");
    },
  };
}

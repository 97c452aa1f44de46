import type { Log } from "../log.ts";

/** Tells the service manager how it goes. */
export interface Notifier {
  /** It listens; `status` is one line for `systemctl status`. */
  ready(status: string): void;
  /** It is about to end. */
  stopping(): Promise<void>;
}

const NOBODY: Notifier = { ready() {}, async stopping() {} };

/**
 * The protocol of sd_notify(3), where `NOTIFY_SOCKET` says that somebody waits for it. Its datagrams are sent by
 * `systemd-notify`, since the runtime has no unix datagram sockets: the unit needs `NotifyAccess=all`.
 */
export function createNotifier(env: Readonly<Record<string, string | undefined>>, log: Log): Notifier {
  const { NOTIFY_SOCKET: socket } = env;
  if (socket === undefined || socket === "") return NOBODY;
  const program = Bun.which("systemd-notify");
  if (program === null) {
    log.warn(
      "NOTIFY_SOCKET is set and there is no systemd-notify: the service manager is not told of the start",
    );
    return NOBODY;
  }
  const tell = async (...states: readonly string[]): Promise<void> => {
    const child = Bun.spawn([program, ...states], {
      env: { ...env },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    if ((await child.exited) !== 0)
      log.warn("systemd-notify failed: the service manager was not told", { states: states.join(" ") });
  };
  return {
    ready: (status) => void tell("READY=1", `MAINPID=${process.pid}`, `STATUS=${status}`),
    stopping: () => tell("STOPPING=1", "STATUS=taking leave of clients"),
  };
}

import { eventually } from "./phoenix-client.ts";

/** A program that runs in a pseudo-terminal of 100 columns, as for a user. */
export interface TerminalProcess {
  /** The output of the terminal so far. */
  screen(): string;
  /** Waits until the terminal shows this. */
  until(text: string): Promise<void>;
  /** Sends keys to the terminal. */
  type(text: string): void;
  readonly exited: Promise<number>;
}

/**
 * Runs a command line of a POSIX shell in a pseudo-terminal, by Python's `pty` (its parent copies keys and output, and
 * ends with the exit code of the program).
 */
export function inTerminal(
  line: string,
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): TerminalProcess {
  const program = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.execvp("/bin/sh", ["sh", "-c", "exec " + sys.argv[1]])
import select
open_input = True
while True:
    ready, _, _ = select.select([fd] + ([0] if open_input else []), [], [])
    if fd in ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        os.write(1, data)
    if 0 in ready:
        data = os.read(0, 65536)
        open_input = bool(data)
        os.write(fd, data)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
`;
  const child = Bun.spawn(["python3", "-c", program, line], {
    cwd,
    env: { PATH: process.env.PATH ?? "", TERM: "xterm-256color", ...env },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  let shown = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) shown += decoder.decode(chunk, { stream: true });
  })();
  return {
    screen: () => shown,
    until: async (text) => {
      await eventually(() => shown.includes(text), `${JSON.stringify(text)} on the terminal`).catch(
        (error) => {
          throw new Error(`${String(error)}; it shows ${JSON.stringify(shown)}`);
        },
      );
    },
    type(text) {
      child.stdin.write(text);
      child.stdin.flush();
    },
    exited: (async () => {
      const code = await child.exited;
      await reading;
      return code;
    })(),
  };
}

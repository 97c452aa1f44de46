import { closeSync, constants, fstatSync, openSync, write, writeSync } from "node:fs";

/** Maximum size of queued lines, bytes; further lines are dropped and counted. */
const MAX_QUEUED = 256 * 1024;

/** Retry interval while the reader blocks, ms. */
const RETRY = 100;

/** Writes lines to a file descriptor and never blocks. */
export class LineWriter {
  readonly #fd: number;
  /** Whether writes to `#fd` never block. */
  readonly #immediate: boolean;
  readonly #report: (dropped: number) => string;
  #queue: Buffer[] = [];
  #bytes = 0;
  #dropped = 0;
  #writing = false;
  #retry: Timer | null = null;
  #drained: (() => void) | null = null;

  /**
   * @param fd where to write; a pipe or terminal is reopened, so that only our own writes are non-blocking
   * @param report returns the line written after `dropped` lines were dropped
   */
  constructor(fd: number, report: (dropped: number) => string) {
    const own = openWithoutBlocking(fd);
    this.#fd = own ?? fd;
    this.#immediate = own !== null || isFile(fd);
    this.#report = report;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.length > MAX_QUEUED) this.#dropped++;
    else {
      this.#queue.push(bytes);
      this.#bytes += bytes.length;
    }
    if (this.#retry === null && !this.#writing) this.#advance();
  }

  /** Resolves when the queue is empty, or after `ms`. */
  async flush(ms: number): Promise<void> {
    if (this.#bytes === 0) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      setTimeout(resolve, ms);
    });
  }

  #advance(): void {
    if (this.#immediate) this.#writeNow();
    else this.#writeInThread();
  }

  #writeNow(): void {
    try {
      for (let [next] = this.#queue; next !== undefined; [next] = this.#queue) {
        this.#wrote(next, writeSync(this.#fd, next));
      }
      this.#pause(false);
    } catch (error) {
      if (codeOf(error) === "EAGAIN") this.#pause(true);
      else this.#giveUp();
    }
  }

  /** For a socket or a pipe that cannot be reopened: one write at a time, in a thread of the runtime. */
  #writeInThread(): void {
    const [next] = this.#queue;
    if (next === undefined) return this.#pause(false);
    if (this.#writing) return;
    this.#writing = true;
    write(this.#fd, next, (error, written) => {
      this.#writing = false;
      if (error === null) {
        this.#wrote(next, written);
        this.#writeInThread();
      } else if (codeOf(error) === "EAGAIN") this.#pause(true);
      else this.#giveUp();
    });
  }

  /** @param next the first queued line */
  #wrote(next: Buffer, written: number): void {
    this.#bytes -= written;
    if (written < next.length) this.#queue[0] = next.subarray(written);
    else this.#queue.shift();
    if (this.#queue.length > 0) return;
    if (this.#dropped > 0) {
      const line = Buffer.from(this.#report(this.#dropped));
      this.#dropped = 0;
      this.#queue.push(line);
      this.#bytes += line.length;
    } else this.#drained?.();
  }

  #pause(on: boolean): void {
    if (on) this.#retry ??= setInterval(() => this.#advance(), RETRY);
    else if (this.#retry !== null) {
      clearInterval(this.#retry);
      this.#retry = null;
    }
  }

  /** Drops the queue: the reader is closed or the disk is full, and the server must continue. */
  #giveUp(): void {
    this.#dropped += this.#queue.length;
    this.#queue = [];
    this.#bytes = 0;
    this.#pause(false);
    this.#drained?.();
  }
}

/**
 * Reopens a pipe or terminal through /proc with `O_NONBLOCK`: the flag belongs to the open file description, which other processes
 * share. `null` for a socket or a pipe of another user, which cannot be reopened.
 */
function openWithoutBlocking(fd: number): number | null {
  if (process.platform !== "linux" || isFile(fd)) return null;
  try {
    const own = openSync(
      `/proc/self/fd/${fd}`,
      constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
    );
    const [ours, theirs] = [fstatSync(own), fstatSync(fd)];
    if (ours.ino === theirs.ino && ours.dev === theirs.dev) return own;
    closeSync(own);
  } catch {
    // Written to by a thread instead.
  }
  return null;
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

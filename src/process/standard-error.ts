import { closeSync, constants, fstatSync, openSync, write, writeSync } from "node:fs";

/** Bytes of lines that may wait for a reader; what comes on top of that is dropped and counted. */
const MAX_WAITING = 256 * 1024;

/** Between two tries to write while nobody reads, in ms. */
const RETRY = 100;

/** Writes lines to a file descriptor without ever waiting for its reader. */
export class LineWriter {
  readonly #fd: number;
  /** Whether a write to `#fd` returns at once, whether or not somebody reads. */
  readonly #immediate: boolean;
  readonly #report: (dropped: number) => string;
  #waiting: Buffer[] = [];
  #bytes = 0;
  #dropped = 0;
  #writing = false;
  #retry: Timer | null = null;
  #drained: (() => void) | null = null;

  /**
   * @param fd where to write; a pipe or terminal is opened again, so that only our own writes do not block
   * @param report makes the line that is written after a gap: how many lines were dropped
   */
  constructor(fd: number, report: (dropped: number) => string) {
    const own = openWithoutBlocking(fd);
    this.#fd = own ?? fd;
    this.#immediate = own !== null || isFile(fd);
    this.#report = report;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.length > MAX_WAITING) this.#dropped++;
    else {
      this.#waiting.push(bytes);
      this.#bytes += bytes.length;
    }
    if (this.#retry === null && !this.#writing) this.#advance();
  }

  /** Resolves when nothing waits any more, or after `ms`. */
  async flush(ms: number): Promise<void> {
    if (this.#bytes === 0) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      setTimeout(resolve, ms);
    });
  }

  #advance(): void {
    if (this.#immediate) this.#writeNow();
    else this.#writeAside();
  }

  #writeNow(): void {
    try {
      for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
        this.#wrote(next, writeSync(this.#fd, next));
      }
      this.#pause(false);
    } catch (error) {
      if (codeOf(error) === "EAGAIN") this.#pause(true);
      else this.#giveUp();
    }
  }

  /** A socket, or a pipe that may not be opened again: one write at a time, in a thread of the runtime. */
  #writeAside(): void {
    const [next] = this.#waiting;
    if (next === undefined) return this.#pause(false);
    if (this.#writing) return;
    this.#writing = true;
    write(this.#fd, next, (error, written) => {
      this.#writing = false;
      if (error === null) {
        this.#wrote(next, written);
        this.#writeAside();
      } else if (codeOf(error) === "EAGAIN") this.#pause(true);
      else this.#giveUp();
    });
  }

  /** @param next the first line that waits */
  #wrote(next: Buffer, written: number): void {
    this.#bytes -= written;
    if (written < next.length) this.#waiting[0] = next.subarray(written);
    else this.#waiting.shift();
    if (this.#waiting.length > 0) return;
    if (this.#dropped > 0) {
      const line = Buffer.from(this.#report(this.#dropped));
      this.#dropped = 0;
      this.#waiting.push(line);
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

  /** The reader is gone, or the disk is full: a hub does not stop for its log. */
  #giveUp(): void {
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
    this.#bytes = 0;
    this.#pause(false);
    this.#drained?.();
  }
}

/**
 * `O_NONBLOCK` belongs to an open file description, which other processes share. A pipe or terminal that is opened by its name
 * under /proc has a description of its own. A socket cannot be opened, nor can a pipe of another user: `null`.
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
    // What can't be opened is written to by a thread.
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

import type { Socket } from "bun";

/** Writes to a socket in order and queues what the kernel does not accept. Queued bytes are copied: the caller may reuse its buffer. */
export class SocketWriter<T> {
  readonly #socket: Socket<T>;
  readonly #waiting: Buffer[] = [];

  constructor(socket: Socket<T>) {
    this.#socket = socket;
  }

  write(bytes: Buffer): void {
    if (this.#waiting.length > 0) {
      this.#waiting.push(Buffer.from(bytes));
      return;
    }
    const written = Math.max(0, this.#socket.write(bytes));
    if (written < bytes.length) this.#waiting.push(Buffer.from(bytes.subarray(written)));
  }

  end(): void {
    this.#socket.end();
  }

  /** Resets the connection; what was queued is lost. */
  reset(): void {
    this.#socket.terminate();
  }

  /** Call this on the `drain` event of the socket. */
  drain(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const written = Math.max(0, this.#socket.write(first));
      if (written < first.length) {
        this.#waiting[0] = first.subarray(written);
        return;
      }
      this.#waiting.shift();
    }
  }
}

import type { Socket } from "bun";

/** Writes to a socket in order, whatever the kernel takes at once. What waits is copied: the caller may reuse its buffer. */
export class Outlet<T> {
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
    const taken = Math.max(0, this.#socket.write(bytes));
    if (taken < bytes.length) this.#waiting.push(Buffer.from(bytes.subarray(taken)));
  }

  end(): void {
    this.#socket.end();
  }

  /** To be called when the socket says that it takes more. */
  drain(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const taken = Math.max(0, this.#socket.write(first));
      if (taken < first.length) {
        this.#waiting[0] = first.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
  }
}

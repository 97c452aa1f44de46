import { connect, type Socket } from "node:net";
import { PATIENCE, short } from "./inbox.ts";

/** A raw socket, to send requests that no client library sends. Text is latin1: one character is one byte. */
export class RespClient {
  readonly socket: Socket;
  #received = "";
  #closed = false;
  #wake: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.toString("latin1");
      this.#stir();
    });
    // A terminated connection may end with a reset.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#stir();
    });
  }

  static async connect(port: number): Promise<RespClient> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new RespClient(socket);
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Waits for a number of bytes and consumes them. */
  async read(length: number): Promise<string> {
    await this.#until(() => this.#received.length >= length, `${length} bytes`);
    const part = this.#received.slice(0, length);
    this.#received = this.#received.slice(length);
    return part;
  }

  /** Sends a request and waits for as many bytes as `expected` has. Returns them. */
  async ask(request: string, expected: string): Promise<string> {
    this.send(request);
    return await this.read(expected.length);
  }

  /** Waits for a text and consumes everything up to its end. */
  async readTo(text: string): Promise<string> {
    let end = -1;
    let from = 0;
    await this.#until(() => {
      end = this.#received.indexOf(text, from);
      from = Math.max(0, this.#received.length - text.length);
      return end >= 0;
    }, text);
    const part = this.#received.slice(0, end + text.length);
    this.#received = this.#received.slice(end + text.length);
    return part;
  }

  /** Waits for the end of the connection. Returns everything received before it. */
  async ended(timeout?: number): Promise<string> {
    await this.#until(() => this.#closed, "the end", timeout);
    return this.#received;
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.socket.destroy();
  }

  async #until(done: () => boolean, what: string, timeout = PATIENCE): Promise<void> {
    const deadline = performance.now() + timeout;
    while (!done()) {
      const left = deadline - performance.now();
      const over = this.#closed ? "the connection ended" : left <= 0 ? `not within ${timeout} ms` : null;
      if (over !== null)
        throw new Error(`waited for ${what}: ${over}; came: ${JSON.stringify(short(this.#received))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const each of wake) each();
  }
}

/** A request: an array of bulk strings. Words are latin1. */
export function request(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

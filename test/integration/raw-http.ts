import { connect, type Socket } from "node:net";

/** A connection that sends raw HTTP. HTTP clients would normalize it. */
export interface RawHttp {
  readonly socket: Socket;
  write(bytes: string | Uint8Array): void;
  /** The next response: status, headers in lower case and body; status 0 where the connection ended without one. */
  answer(): Promise<RawAnswer>;
  readonly closed: Promise<void>;
  cut(): void;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

const GONE: RawAnswer = { status: 0, headers: "", body: "" };

export async function openRawHttp(port: number): Promise<RawHttp> {
  const socket = connect(port, "127.0.0.1");
  const gone = Promise.withResolvers<void>();
  let text = "";
  let over = false;
  let wake: () => void = () => {};
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    wake();
  });
  // A server that rejects a request may reset the connection before it reads everything.
  socket.on("error", () => {});
  socket.on("close", () => {
    over = true;
    wake();
    gone.resolve();
  });
  await new Promise<void>((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", resolve);
  });

  const take = (): RawAnswer | null => {
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return null;
    const headers = text.slice(0, end).toLowerCase();
    const length = Number(/\r\ncontent-length: (\d+)/.exec(headers)?.[1] ?? 0);
    if (text.length < end + 4 + length) return null;
    const body = text.slice(end + 4, end + 4 + length);
    text = text.slice(end + 4 + length);
    return { status: Number(/^http\/1\.1 (\d+)/.exec(headers)?.[1] ?? 0), headers, body };
  };
  return {
    socket,
    write: (bytes) => void socket.write(bytes),
    answer: async () => {
      for (;;) {
        const answer = take();
        if (answer !== null) return answer;
        if (over) return GONE;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    closed: gone.promise,
    cut: () => void socket.destroy(),
  };
}

/** Sends one request unchanged, and returns the response. */
export async function askRaw(port: number, request: string | Uint8Array): Promise<RawAnswer> {
  const http = await openRawHttp(port);
  http.write(request);
  const answer = await http.answer();
  http.cut();
  return answer;
}

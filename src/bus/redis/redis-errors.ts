import { connect, type NetConnectOpts } from "node:net";
import { connect as connectTls } from "node:tls";

/** Timeout for the error that Redis sends, in ms. */
const ERROR_TIMEOUT_MS = 300;

export const TLS_THERE = "the server uses TLS: the address must begin with rediss://";
const NO_TLS_THERE = "the server does not use TLS: the address must begin with redis://";

/** The error reply at the end of a text, without its sign, or `null`. */
export function errorIn(text: string): string | null {
  return /(?:^|\r\n)-([^\r\n]+)\r\n$/.exec(text)?.[1] ?? null;
}

/**
 * Why a server closes connections before they are ready, in a few words, or `null`. Redis sends some errors before any
 * command and closes (`max number of clients reached`, `DENIED` in protected mode); if the client has written meanwhile,
 * the reset discards them. So this connects and only reads. `secure`: whether TLS was tried.
 */
export async function whyClosed(place: NetConnectOpts, secure: boolean): Promise<string | null> {
  if (secure) {
    const answer = await firstLine(place, "PING\r\n");
    return /^[+-]/.test(answer) ? (errorIn(answer) ?? NO_TLS_THERE) : null;
  }
  const error = errorIn(await firstLine(place, null));
  if (error !== null) return error;
  return (await acceptsTls(place)) ? TLS_THERE : null;
}

/** The first line that the server sends. */
function firstLine(place: NetConnectOpts, question: string | null): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(place);
  let line = "";
  socket.setTimeout(ERROR_TIMEOUT_MS, () => resolve(line));
  socket.once("connect", () => {
    if (question !== null) socket.write(question);
  });
  socket.on("data", (chunk: Buffer) => {
    line += chunk.toString("utf8");
    if (line.endsWith("\r\n")) resolve(line);
  });
  socket.on("error", () => resolve(line));
  socket.once("close", () => resolve(line));
  return promise.finally(() => socket.destroy());
}

function acceptsTls(place: NetConnectOpts): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // Any certificate is accepted, since no data is sent.
  const socket = connectTls({ ...place, rejectUnauthorized: false });
  socket.setTimeout(ERROR_TIMEOUT_MS, () => resolve(false));
  socket.once("secureConnect", () => resolve(true));
  socket.on("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  return promise.finally(() => socket.destroy());
}

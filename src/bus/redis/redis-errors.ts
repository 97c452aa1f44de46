import { connect, type NetConnectOpts } from "node:net";
import { connect as connectTls } from "node:tls";

/** How long Redis may take to say why, in ms. */
const WORDS_MS = 300;

export const SPEAKS_TLS = "it speaks TLS: its address begins with rediss://";
const SPEAKS_NO_TLS = "it speaks no TLS: its address begins with redis://";

/** The error that a text of Redis ends with, without its sign, or `null`. */
export function errorIn(text: string): string | null {
  return /(?:^|\r\n)-([^\r\n]+)\r\n$/.exec(text)?.[1] ?? null;
}

/**
 * Why a server closes connections before they are ready, in a few words, or `null`. Redis says some things unasked and
 * closes (`max number of clients reached`, `DENIED` of the protected mode); to one who has written meanwhile the words
 * get lost in the reset. So this one listens. `secure`: whether TLS was tried there.
 */
export async function whyClosed(place: NetConnectOpts, secure: boolean): Promise<string | null> {
  if (secure) {
    const answer = await firstWords(place, "PING\r\n");
    return /^[+-]/.test(answer) ? (errorIn(answer) ?? SPEAKS_NO_TLS) : null;
  }
  const error = errorIn(await firstWords(place, null));
  if (error !== null) return error;
  return (await speaksTls(place)) ? SPEAKS_TLS : null;
}

/** What comes first, up to the end of a line. */
function firstWords(place: NetConnectOpts, question: string | null): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(place);
  let words = "";
  socket.setTimeout(WORDS_MS, () => resolve(words));
  socket.once("connect", () => {
    if (question !== null) socket.write(question);
  });
  socket.on("data", (chunk: Buffer) => {
    words += chunk.toString("utf8");
    if (words.endsWith("\r\n")) resolve(words);
  });
  socket.on("error", () => resolve(words));
  socket.once("close", () => resolve(words));
  return promise.finally(() => socket.destroy());
}

function speaksTls(place: NetConnectOpts): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // Whose certificate it is does not matter: nothing is sent.
  const socket = connectTls({ ...place, rejectUnauthorized: false });
  socket.setTimeout(WORDS_MS, () => resolve(false));
  socket.once("secureConnect", () => resolve(true));
  socket.on("error", () => resolve(false));
  socket.once("close", () => resolve(false));
  return promise.finally(() => socket.destroy());
}

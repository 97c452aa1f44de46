import { field } from "../shared/page.ts";
import type { Call } from "./call.ts";
import type { Operation } from "./description.ts";

/** How calls prove who makes them: the session cookie, or a key as Bearer. */
export interface Credentials {
  /** Empty: the session. */
  readonly key: string;
}

export interface Answer {
  readonly status: number;
  readonly statusText: string;
  /** Until the headers, in ms. */
  readonly elapsed: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Characters of an answer that are kept: the first ones, or the last ones of a stream. */
const MAX_SHOWN = 200_000;

/**
 * Sends a call. Rejects if the server does not answer or `signal` is aborted.
 * @param onText called with the text received so far
 */
export async function send(
  call: Call,
  operation: Operation,
  { key }: Credentials,
  signal: AbortSignal,
  onAnswer: (answer: Answer) => void,
  onText: (text: string, cut: boolean) => void,
): Promise<void> {
  const proof = key === "" ? {} : { authorization: `Bearer ${key}` };
  const headers: Record<string, string> = operation.access === "bearer" ? proof : {};
  if (call.body !== null) headers["content-type"] = "application/json";
  const options = { signal, credentials: key === "" ? "same-origin" : "omit" } as const;
  if (operation.access === "signature") {
    const signed = await fetch("api/channelstream/signature", { ...options, method: "POST", headers: proof });
    const signature = field(await signed.json().catch(() => null), "signature");
    if (typeof signature === "string") headers["x-channelstream-secret"] = signature;
  }
  const { method, url, body } = call;
  const start = performance.now();
  const response = await fetch(url, { ...options, method, headers, body, cache: "no-store" });
  const { status, statusText } = response;
  onAnswer({ status, statusText, elapsed: performance.now() - start, headers: [...response.headers] });
  if (response.body === null) return;
  const streams = operation.streams && response.ok;
  let text = "";
  let cut = false;
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.length > MAX_SHOWN) {
      cut = true;
      text = streams ? text.slice(-MAX_SHOWN) : text.slice(0, MAX_SHOWN);
    }
    if (streams) onText(text, cut);
  }
  onText(text, cut);
}

/** JSON indented, anything else as it is. */
export function indentJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

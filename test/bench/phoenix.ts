import { textFrame } from "./websocket.ts";

/** What the generator says and looks for, in Phoenix' V2. Refs are always the same: nobody here needs to tell them apart. */

/** `["1","1",...` is a reply; `["1",null,...` and `[null,null,...` are what the server says by itself. */
export const REPLY_MARK = 0x22;

/** Bytes behind the stamp in a broadcast: `}` of the payload and `]` of the frame. */
export const BEHIND_STAMP = 2;

export function socketUrl(base: string): URL {
  const url = new URL(base);
  if (url.pathname === "/") url.pathname = "/websocket";
  url.searchParams.set("vsn", "2.0.0");
  return url;
}

export function joinFrame(topic: string, token: string): Buffer {
  return textFrame(`["1","1","${topic}","phx_join",{"token":"${token}"}]`);
}

/** A push on a topic that was joined by `joinFrame`; `payload` is JSON text. */
export function pushFrame(topic: string, event: string, payload: string): Buffer {
  return textFrame(`["1","2","${topic}","${event}",${payload}]`);
}

const OK = '"status":"ok"';

export function isOk(bytes: Buffer, start: number, end: number): boolean {
  return bytes.subarray(start, end).includes(OK);
}

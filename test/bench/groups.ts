import type { Driver } from "../../src/bench/driver.ts";
import { phoenix } from "../../src/bench/phoenix-driver.ts";
import type { Client } from "../../src/bench/websocket-client.ts";
import { textFrame } from "../../src/bench/websocket-client.ts";

/** What the generator says and looks for, in event groups. */

/** A payload comes bare: behind its stamp there is its `}`. */
export const groups: Driver = { ...phoenix, name: "groups", bytesAfterStamp: 1 };

export function groupsUrl(base: string, token: string): URL {
  const url = new URL(base);
  if (url.pathname === "/") url.pathname = "/groups";
  url.searchParams.set("token", token);
  return url;
}

export function groupsFrame(wanted: Readonly<Record<string, readonly (string | number)[]>>): Buffer {
  return textFrame(JSON.stringify({ groups: wanted }));
}

const PATIENCE_MS = 60_000;

/** Sends each client's groups; resolves when all were answered, rejects at the first refusal. */
export function followAll(clients: readonly Client[], frame: (client: Client) => Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error("not every client was answered")), PATIENCE_MS);
  let answered = 0;
  for (const client of clients) {
    client.onMessage = (_client, bytes, start, end) => {
      const text = bytes.toString("latin1", start, end);
      if (text.startsWith('{"error"') || text.includes('"close"')) reject(new Error(text));
      if (!text.startsWith('{"groups_current"')) return;
      if (++answered < clients.length) return;
      clearTimeout(timer);
      resolve();
    };
    client.send(frame(client));
  }
  return promise;
}

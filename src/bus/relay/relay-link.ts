import { join } from "node:path";

/** What a follower and a leader send each other first, as a line of JSON. Both are the same executable. */
export interface RelayHello {
  readonly worker: number;
  /** The address of the Redis that it is subscribed to. */
  readonly remote: string;
  /** The file of the leader's ring; a follower sends none. */
  readonly ring: string;
}

export function printHello(hello: RelayHello): string {
  return `${JSON.stringify(hello)}\n`;
}

/** `null` if it is not such a line. */
export function parseHello(chunk: Buffer): RelayHello | null {
  try {
    const value: unknown = JSON.parse(chunk.toString("utf8"));
    if (typeof value !== "object" || value === null) return null;
    const { worker, remote, ring } = { worker: null, remote: null, ring: null, ...value };
    const isHello = typeof worker === "number" && typeof remote === "string" && typeof ring === "string";
    return isHello ? { worker, remote, ring } : null;
  } catch {
    return null;
  }
}

/** The unix socket of a leader. */
export function socketIn(folder: string, worker: number): string {
  return join(folder, `relay-${worker}.sock`);
}

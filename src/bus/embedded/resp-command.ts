import type { Resp } from "../resp.ts";
import * as reply from "../resp.ts";
import type { Lists } from "./lists.ts";
import type { RespConnection } from "./resp-connection.ts";
import { keyOf, type Subscriptions } from "./subscriptions.ts";

/** What commands use. */
export interface RespContext {
  readonly subscriptions: Subscriptions;
  readonly lists: Lists;
  /** `null`: no authentication. */
  readonly password: string | null;
}

/** Returns the reply; `null` if there is none yet, or it was sent. */
export type Run = (connection: RespConnection, args: readonly Buffer[], context: RespContext) => Resp | null;

/** `arity`, as in Redis: number of strings with the name, `-n` is n or more. `subscribed`: allowed while subscribed in RESP2. */
export interface Command {
  readonly arity: number;
  readonly run: Run;
  readonly subscribed?: boolean;
  /** Allowed before AUTH. */
  readonly open?: boolean;
}

export function wrongNumber(name: string): Resp {
  return reply.error(`ERR wrong number of arguments for '${name}' command`);
}

/** As latin1 text, as replies are. */
export function textOf(bytes: Buffer | undefined): string {
  return bytes === undefined ? "" : keyOf(bytes);
}

export function bulkOf(bytes: Buffer | undefined): Resp {
  return reply.bulk(textOf(bytes));
}

import type { Fields, Log } from "../log.ts";

/** One administrative act, or the attempt at one. */
export interface Act {
  /** `sign_in`, `kick`, `mint`, ... */
  readonly act: string;
  /** `secret`, `session:<the beginning of its id>`, `key:<name>`, or `nobody`. */
  readonly who: string;
  /** The address, after trusted proxies. */
  readonly from: string;
  /** What it was done to: names and ids, never a secret, a token or a payload. */
  readonly what?: Fields;
  /** `ok`, or why not. */
  readonly result: string;
}

export type Audit = (act: Act) => void;

/** Writes each act as one line of the log: `audit act=kick who=key:billing from=192.0.2.1 channel=room:1 result=ok`. */
export function createAudit(log: Log): Audit {
  return ({ act, who, from, what, result }) => log.info("audit", { act, who, from, ...what, result });
}

/** How a status of HTTP is called in the audit log. */
export function resultOf(status: number): string {
  return status < 400 ? "ok" : `refused ${status}`;
}

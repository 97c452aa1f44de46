import type { Fields, Log } from "../log.ts";

/** One administrative action, performed or attempted. */
export interface Act {
  /** `sign_in`, `kick`, `mint`, ... */
  readonly act: string;
  /** `secret`, `session:<start of its id>`, `key:<name>`, or `nobody` (not authenticated). */
  readonly who: string;
  /** The client's address, behind trusted proxies. */
  readonly from: string;
  /** The target: names and ids, never a secret, token or payload. */
  readonly what?: Fields;
  /** `ok`, or the failure. */
  readonly result: string;
}

export type Audit = (act: Act) => void;

/**
 * Logs each action as one line: `audit act=kick who=key:billing from=192.0.2.1 channel=room:1 result=ok`.
 * @param keep called with each
 */
export function createAudit(log: Log, keep: (act: Act) => void): Audit {
  return (each) => {
    const { act, who, from, what, result } = each;
    log.info("audit", { act, who, from, ...what, result });
    keep(each);
  };
}

/** The `result` of an HTTP status. */
export function resultOf(status: number): string {
  return status < 400 ? "ok" : `refused ${status}`;
}

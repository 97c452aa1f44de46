export type CheckStatus = "ok" | "warning" | "failed" | "skipped";

/** The result of one check. */
export interface Check {
  /** `redis acl` */
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found, in one line without secrets. */
  readonly found: string;
  /** What to do about it; `null` if it is in order. */
  readonly remedy: string | null;
}

export function ok(name: string, found: string): Check {
  return { name, status: "ok", found, remedy: null };
}

export function warning(name: string, found: string, remedy: string): Check {
  return { name, status: "warning", found, remedy };
}

export function failed(name: string, found: string, remedy: string): Check {
  return { name, status: "failed", found, remedy };
}

/** It could not be made. */
export function skipped(name: string, found: string, remedy: string | null = null): Check {
  return { name, status: "skipped", found, remedy };
}

/**
 * Why a server cannot be the bus, from its reply to `ROLE`; `null` for a master. A replica accepts PUBLISH, but delivers
 * only to its own subscribers.
 */
export function whyNoMaster(role: unknown): string | null {
  const [name, ...rest]: unknown[] = Array.isArray(role) ? role : [];
  if (name === "master") return null;
  if (name === "slave") {
    const [host, port] = rest;
    return `it is a replica of ${String(host)}:${String(port)} (role slave), and only a master is a bus`;
  }
  if (name === "sentinel") {
    return "it is a Sentinel (role sentinel): its address begins with redis+sentinel:// and ends in /<master name>";
  }
  return `its role is ${JSON.stringify(String(name))}, and only a master is a bus`;
}

/** Whether an error means that `ROLE` is not available: forbidden by the ACL, or an unknown command. */
export function isUnasked(error: string): boolean {
  return error.startsWith("NOPERM") || /unknown command/i.test(error);
}

/** Errors that mean that the server cannot be the bus, whatever the command was. */
const UNFIT = /^(READONLY|LOADING|MASTERDOWN|NOAUTH|WRONGPASS)\b/;

export function isUnfit(error: string): boolean {
  return UNFIT.test(error);
}

/** Errors that an operator has to resolve. */
const AUTHENTICATION = /^(WRONGPASS|NOAUTH|NOPERM|ERR AUTH|ERR invalid password)/;
const REFUSAL = /^(DENIED|READONLY|ERR max number of clients)/;
const ROLE = /\(role |^its role is /;

/** The log message for a reason that an operator has to act on; `null` for any other. */
export function noticeOf(reason: string): string | null {
  if (AUTHENTICATION.test(reason)) return "Redis authentication failed, retrying";
  if (REFUSAL.test(reason)) return "Redis refused the connection, retrying";
  if (ROLE.test(reason)) return "Redis is not a master, retrying";
  return null;
}

/**
 * Why the server that answered `ROLE` so is no bus, in a few words, or `null` where it is a master. A replica takes
 * PUBLISH and passes it to nobody but its own subscribers.
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

/** Whether an answer to `ROLE` says that there is no answer: the ACL forbids it, or the server does not know it. */
export function isUnasked(error: string): boolean {
  return error.startsWith("NOPERM") || /unknown command/i.test(error);
}

/** What makes a server no bus, as it says so itself, whatever it was asked. */
const UNFIT = /^(READONLY|LOADING|MASTERDOWN|NOAUTH|WRONGPASS)\b/;

export function isUnfit(error: string): boolean {
  return UNFIT.test(error);
}

/** What waiting alone does not cure: an operator has to do something. */
const REFUSAL =
  /^(WRONGPASS|NOAUTH|NOPERM|DENIED|READONLY|ERR AUTH|ERR invalid password|ERR max number of clients)/;
const ROLE = /\(role |^its role is /;

/** What the log says of a reason beside that there is no connection, or `null` where it needs no more. */
export function noticeOf(reason: string): string | null {
  if (REFUSAL.test(reason)) return "Redis does not let us in, trying until it does";
  if (ROLE.test(reason)) return "Redis is no master, trying until it is";
  return null;
}

import { unauthorized, type Verdict, type Verify } from "./claims-types.ts";
import type { Revocations } from "./revocations.ts";

/** Maximum number of bans at one time. Bounds memory. */
export const MAX_BANS = 10_000;

/** Rejects a user's tokens until `until` (Unix time in ms). */
export interface Ban {
  readonly user: string;
  readonly until: number;
}

/** Temporary bans of users. They are local to this server and lost when it stops. */
export class Bans {
  readonly #until = new Map<string, number>();
  readonly #now: () => number;

  /** @param now unix time in ms */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Bans a user or changes the end of a ban. `false` if `MAX_BANS` is reached. */
  add({ user, until }: Ban): boolean {
    if (this.#until.size >= MAX_BANS && !this.#until.has(user)) {
      this.#removeExpired();
      if (this.#until.size >= MAX_BANS) return false;
    }
    this.#until.set(user, until);
    return true;
  }

  /** Lifts a ban. `false` if there was none. */
  lift(user: string): boolean {
    return this.has(user) && this.#until.delete(user);
  }

  has(user: string): boolean {
    if (this.#until.size === 0) return false;
    const until = this.#until.get(user);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#until.delete(user);
    return false;
  }

  /** Active bans, by end time. */
  all(): Ban[] {
    this.#removeExpired();
    return Array.from(this.#until, ([user, until]) => ({ user, until })).sort((a, b) => a.until - b.until);
  }

  #removeExpired(): void {
    const now = this.#now();
    for (const [user, until] of this.#until) if (until <= now) this.#until.delete(user);
  }
}

/** Wraps `verify`: also rejects revoked tokens and tokens of banned users. */
export function rejectBanned(verify: Verify, bans: Bans, revocations?: Revocations): Verify {
  const check = (verdict: Verdict): Verdict => {
    if (!verdict.ok) return verdict;
    const { user, jti } = verdict.claims;
    const revoked = jti !== undefined && revocations?.has("token", jti) === true;
    if (revoked) return unauthorized("token_revoked");
    return bans.has(user) ? unauthorized("user_banned") : verdict;
  };
  return (token, source) => {
    const verdict = verify(token, source);
    return verdict instanceof Promise ? verdict.then(check) : check(verdict);
  };
}

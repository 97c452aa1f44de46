import { unauthorized, type Verdict, type Verify } from "./claims-types.ts";
import type { Revocations } from "./revocations.ts";

/** Users banned at once; one more is refused, so that memory stays bounded. */
export const MAX_BANS = 10_000;

/** A user whose tokens are refused until then (Unix ms). */
export interface Ban {
  readonly user: string;
  readonly until: number;
}

/** Users whose tokens are refused for a time, by this server and until it stops. */
export class Bans {
  readonly #until = new Map<string, number>();
  readonly #now: () => number;

  /** @param now unix time in ms */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Bans a user, or changes until when. `false` where there are too many already. */
  add({ user, until }: Ban): boolean {
    if (this.#until.size >= MAX_BANS && !this.#until.has(user)) {
      this.#forgetPast();
      if (this.#until.size >= MAX_BANS) return false;
    }
    this.#until.set(user, until);
    return true;
  }

  /** Whether there was a ban to lift. */
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

  /** Those in force, the one that ends first in front. */
  all(): Ban[] {
    this.#forgetPast();
    return Array.from(this.#until, ([user, until]) => ({ user, until })).sort((a, b) => a.until - b.until);
  }

  #forgetPast(): void {
    const now = this.#now();
    for (const [user, until] of this.#until) if (until <= now) this.#until.delete(user);
  }
}

/** Verifies as before, and refuses the tokens of banned users, and revoked ones. */
export function refusingBanned(verify: Verify, bans: Bans, revocations?: Revocations): Verify {
  const look = (verdict: Verdict): Verdict => {
    if (!verdict.ok) return verdict;
    const { user, jti } = verdict.claims;
    const revoked = jti !== undefined && revocations?.has("token", jti) === true;
    if (revoked) return unauthorized("token_revoked");
    return bans.has(user) ? unauthorized("user_banned") : verdict;
  };
  return (token, source) => {
    const verdict = verify(token, source);
    return verdict instanceof Promise ? verdict.then(look) : look(verdict);
  };
}

import { unauthorized, type Verdict, type Verify } from "./claims-types.ts";
import type { Revocations } from "./revocations.ts";

/** Maximum number of bans at one time. Bounds memory. */
export const MAX_BANS = 10_000;

/** How long a lifted ban is remembered, so that an older notice of it does not bring it back, in ms. */
const LIFTED_FOR = 3_600_000;

/** Rejects a user's tokens until `until` (Unix time in ms). */
export interface Ban {
  readonly user: string;
  readonly until: number;
}

/** A change of a ban, of any server. `until` is 0 for a lifted one. Of two changes the one with the greater version counts. */
export interface BanChange extends Ban {
  readonly version: number;
}

/** Shares bans between the servers of one Redis, and keeps them. No method may throw. */
export interface BanStore {
  /** Calls `changed` for kept and future changes of all servers. Resolves after the first attempt to load. */
  start(changed: (change: BanChange) => void): Promise<void>;
  /** Keeps a change, now or after reconnecting. */
  put(change: BanChange): void;
  /** Remembers a change that another server keeps, to restore it when the store has lost it. */
  learn(change: BanChange): void;
  stop(): void;
}

interface Known {
  /** 0: lifted. */
  readonly until: number;
  readonly version: number;
  /** When the entry may be dropped (Unix ms). */
  readonly keptUntil: number;
}

/** Temporary bans of users. With a store they are those of all servers, and survive restarts. */
export class Bans {
  /** Called with a user whose ban became known by the store: made on another server, or before this one started. */
  adopted: (user: string) => void = () => {};
  readonly #known = new Map<string, Known>();
  readonly #now: () => number;
  readonly #store: BanStore | null;

  /**
   * @param now Unix time in ms
   * @param store `null` for bans of this process alone
   */
  constructor(now: () => number = Date.now, store: BanStore | null = null) {
    this.#now = now;
    this.#store = store;
  }

  async start(): Promise<void> {
    await this.#store?.start((change) => {
      const isNewer = (this.#known.get(change.user)?.version ?? 0) < change.version;
      if (isNewer && this.#apply(change) && change.until > this.#now()) this.adopted(change.user);
    });
  }

  stop(): void {
    this.#store?.stop();
  }

  /** Bans a user or changes the end of a ban. Returns the version of the change; `null` if `MAX_BANS` is reached. */
  add(ban: Ban): number | null {
    return this.#change({ ...ban, version: this.#nextVersion(ban.user) });
  }

  /** Lifts a ban. Returns the version of the change; `null` if there was none. */
  lift(user: string): number | null {
    if (!this.has(user)) return null;
    return this.#change({ user, until: 0, version: this.#nextVersion(user) });
  }

  /** Applies a change of another server. `false` if a newer one is known, or `MAX_BANS` is reached. */
  apply(change: BanChange): boolean {
    const applied = this.#apply(change);
    if (applied) this.#store?.learn(change);
    return applied;
  }

  has(user: string): boolean {
    if (this.#known.size === 0) return false;
    const until = this.#known.get(user)?.until ?? 0;
    return until > this.#now();
  }

  /** Active bans, by end time. */
  all(): Ban[] {
    this.#removeExpired();
    return Array.from(this.#known, ([user, { until }]) => ({ user, until }))
      .filter(({ until }) => until > 0)
      .sort((a, b) => a.until - b.until);
  }

  /** Greater than that of any change known here, also where the clock went back. */
  #nextVersion(user: string): number {
    return Math.max(this.#now(), (this.#known.get(user)?.version ?? 0) + 1);
  }

  #change(change: BanChange): number | null {
    if (!this.#apply(change)) return null;
    this.#store?.put(change);
    return change.version;
  }

  #apply({ user, until, version }: BanChange): boolean {
    const known = this.#known.get(user);
    if (known !== undefined && known.version >= version) return known.version === version;
    if (this.#known.size >= MAX_BANS && known === undefined) {
      this.#removeExpired();
      this.#removeLifted();
      if (this.#known.size >= MAX_BANS) return false;
    }
    const keptUntil = until === 0 ? Math.max(known?.keptUntil ?? 0, this.#now() + LIFTED_FOR) : until;
    this.#known.set(user, { until, version, keptUntil });
    return true;
  }

  #removeLifted(): void {
    for (const [user, { until }] of this.#known) if (until === 0) this.#known.delete(user);
  }

  #removeExpired(): void {
    const now = this.#now();
    for (const [user, { keptUntil }] of this.#known) if (keptUntil <= now) this.#known.delete(user);
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

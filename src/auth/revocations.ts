/** Maximum number of revocations of one kind. */
export const MAX_REVOCATIONS = 10_000;

export type RevocationKind = "session" | "token";

/** Rejects a session or token before its expiry. */
export interface Revocation {
  readonly kind: RevocationKind;
  /** The session id, or the token's `jti`. */
  readonly id: string;
  /** Unix time in ms after which the session or token has expired and the entry may be dropped. */
  readonly until: number;
}

/** Shares revocations between the servers of one Redis. No method may throw. */
export interface RevocationStore {
  /** Whether all revocations from before this process started are loaded. */
  readonly complete: boolean;
  /** Calls `onRevocation` for past and future revocations of all servers. Resolves after the first attempt to load. */
  start(onRevocation: (revocation: Revocation) => void): Promise<void>;
  /** Sends a revocation to the other servers, now or after reconnecting. */
  add(revocation: Revocation): void;
  stop(): Promise<void>;
}

/** For a single server without Redis: revocations do not survive a restart. */
export const NO_STORE: RevocationStore = {
  complete: false,
  async start() {},
  add() {},
  async stop() {},
};

/** Revoked sessions and tokens of all servers. */
export class Revocations {
  /** Called once for each new revocation, of any server. */
  revoked: (revocation: Revocation) => void = () => {};
  readonly #store: RevocationStore;
  readonly #now: () => number;
  readonly #until = { session: new Map<string, number>(), token: new Map<string, number>() };
  /** All sessions that expire up to this time (Unix ms) count as revoked. Bounds memory without reviving one. */
  #sessionsUntil = 0;

  /** @param now unix time in ms */
  constructor(store: RevocationStore = NO_STORE, now: () => number = Date.now) {
    this.#store = store;
    this.#now = now;
  }

  get complete(): boolean {
    return this.#store.complete;
  }

  start(): Promise<void> {
    return this.#store.start((revocation) => void this.#apply(revocation));
  }

  stop(): Promise<void> {
    return this.#store.stop();
  }

  /** Revokes a session or token. `false` if the limit for tokens is reached. */
  add(revocation: Revocation): boolean {
    if (!this.#apply(revocation)) return false;
    this.#store.add(revocation);
    return true;
  }

  has(kind: RevocationKind, id: string): boolean {
    const until = this.#until[kind].get(id);
    return until !== undefined && until > this.#now();
  }

  /** Whether a session with this expiry counts as revoked because its entry may have been dropped. */
  endedBefore(expiresAt: number): boolean {
    return expiresAt <= this.#sessionsUntil;
  }

  /** Active revocations, by end time. */
  all(kind: RevocationKind): Revocation[] {
    this.#removeExpired(kind);
    return Array.from(this.#until[kind], ([id, until]) => ({ kind, id, until })).sort(
      (a, b) => a.until - b.until,
    );
  }

  #apply(revocation: Revocation): boolean {
    const { kind, id, until } = revocation;
    const known = this.#until[kind];
    const before = known.get(id);
    if (until <= this.#now() || (before !== undefined && before >= until)) return true;
    if (known.size >= MAX_REVOCATIONS && before === undefined && !this.#evict(kind)) return false;
    known.set(id, until);
    if (before === undefined) this.revoked(revocation);
    return true;
  }

  #evict(kind: RevocationKind): boolean {
    this.#removeExpired(kind);
    const known = this.#until[kind];
    if (known.size < MAX_REVOCATIONS) return true;
    if (kind === "token") return false;
    for (const [id, until] of known) {
      known.delete(id);
      this.#sessionsUntil = Math.max(this.#sessionsUntil, until);
      return true;
    }
    return false;
  }

  #removeExpired(kind: RevocationKind): void {
    const now = this.#now();
    const known = this.#until[kind];
    for (const [id, until] of known) if (until <= now) known.delete(id);
  }
}

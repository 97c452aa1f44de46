/** Revocations of one kind remembered at once. */
export const MAX_REVOCATIONS = 10_000;

export type RevocationKind = "session" | "token";

/** What is refused though it is signed and not expired. */
export interface Revocation {
  readonly kind: RevocationKind;
  /** Of the session, or the `jti` of the token. */
  readonly id: string;
  /** Unix time in ms at which it may be forgotten, since it ends by itself. */
  readonly until: number;
}

/** Where the servers of one Redis share revocations. No method may throw. */
export interface RevocationStore {
  /** Whether everything that was revoked before this process started has been heard. */
  readonly complete: boolean;
  /** Begins to tell of what is and was revoked elsewhere. Resolves after the first try, whether it succeeded or not. */
  start(heard: (revocation: Revocation) => void): Promise<void>;
  /** Tells the others, now or when they can be reached again. */
  add(revocation: Revocation): void;
  stop(): Promise<void>;
}

/** For a server that is alone: what it revoked before it was started again nobody knows. */
export const NO_STORE: RevocationStore = {
  complete: false,
  async start() {},
  add() {},
  async stop() {},
};

/** Sessions and tokens revoked before their end, here and on the other servers. */
export class Revocations {
  /** Told of each revocation once, wherever it came from. */
  revoked: (revocation: Revocation) => void = () => {};
  readonly #store: RevocationStore;
  readonly #now: () => number;
  readonly #until = { session: new Map<string, number>(), token: new Map<string, number>() };
  /** Sessions that expire up to here are all ended: how memory stays bounded without bringing one back. */
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
    return this.#store.start((revocation) => void this.#take(revocation));
  }

  stop(): Promise<void> {
    return this.#store.stop();
  }

  /** `false` where too many tokens are revoked already. */
  add(revocation: Revocation): boolean {
    if (!this.#take(revocation)) return false;
    this.#store.add(revocation);
    return true;
  }

  has(kind: RevocationKind, id: string): boolean {
    const until = this.#until[kind].get(id);
    return until !== undefined && until > this.#now();
  }

  /** Whether a session that ends then is among those that were ended long ago and forgotten. */
  endedBefore(expiresAt: number): boolean {
    return expiresAt <= this.#sessionsUntil;
  }

  /** Those in force, the one that ends first in front. */
  all(kind: RevocationKind): Revocation[] {
    this.#forgetPast(kind);
    return Array.from(this.#until[kind], ([id, until]) => ({ kind, id, until })).sort(
      (a, b) => a.until - b.until,
    );
  }

  #take(revocation: Revocation): boolean {
    const { kind, id, until } = revocation;
    const known = this.#until[kind];
    const before = known.get(id);
    if (until <= this.#now() || (before !== undefined && before >= until)) return true;
    if (known.size >= MAX_REVOCATIONS && before === undefined && !this.#makeRoom(kind)) return false;
    known.set(id, until);
    if (before === undefined) this.revoked(revocation);
    return true;
  }

  #makeRoom(kind: RevocationKind): boolean {
    this.#forgetPast(kind);
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

  #forgetPast(kind: RevocationKind): void {
    const now = this.#now();
    const known = this.#until[kind];
    for (const [id, until] of known) if (until <= now) known.delete(id);
  }
}

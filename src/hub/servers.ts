import type { Identity } from "./identity.ts";

/** Another server on the same Redis that is not declared dead. */
export interface OtherServer {
  readonly incarnation: string;
  /** For people; need not be unique. */
  readonly name: string;
  /** Incarnations under which it was declared dead before. */
  readonly previous: readonly string[];
}

/** Is called for changes of the servers on this Redis, never for this server's own start. No method may throw. */
export interface ServersObserver {
  /** A server became known, or came back under a new incarnation after it was declared dead (`previous`). */
  joined?(server: OtherServer): void;
  /**
   * A server was declared dead. Its incarnation never comes back.
   * @param won whether this server, and no other, acts for the dead one: removes its entries, notifies backends
   */
  died?(server: OtherServer, won: boolean): void;
  /** Another server declared this one dead: from now on it has a new incarnation. Its connections keep their ids. */
  renewed?(previous: string, current: string): void;
}

/** The servers on this Redis, as this one sees them. */
export interface Servers {
  /** Whether this server never has others: the embedded bus, or no secret to verify their messages. */
  readonly isAlone: boolean;
  /** This server's own incarnation; changes when another server declared it dead. */
  readonly incarnation: string;
  /** The other living servers, by incarnation. */
  readonly others: ReadonlyMap<string, OtherServer>;
  /** Whether an incarnation is this server's own, or that of another living server. */
  isLiving(incarnation: string): boolean;
  observe(observer: ServersObserver): void;
}

/** A server that is alone. */
export class SoleServer implements Servers {
  readonly isAlone = true;
  readonly others: ReadonlyMap<string, OtherServer> = new Map();
  readonly #identity: Identity;

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  get incarnation(): string {
    return this.#identity.incarnation;
  }

  isLiving(incarnation: string): boolean {
    return incarnation === this.incarnation;
  }

  observe(): void {}
}

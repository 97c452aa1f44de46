/**
 * What servers keep in Redis so that others know whether they live: the key `hub:node:<incarnation>`, which expires, and
 * `hub:dead:<incarnation>`. Each method resolves to `null` without an answer: not connected, or refused. None rejects.
 */
export interface LivenessStore {
  /** @param opened called at each connection */
  onOpen(opened: () => void): void;
  /** Sets the key of a server for `ttl` ms. Resolves to whether that server was declared dead. */
  renew(incarnation: string, ttl: number): Promise<boolean | null>;
  /** Whether the key of a server exists. */
  isPresent(incarnation: string): Promise<boolean | null>;
  /** Declares a server dead. Resolves to whether this was the first declaration. */
  declareDead(incarnation: string): Promise<boolean | null>;
  /** Removes the key of a server. */
  remove(incarnation: string): Promise<void>;
}

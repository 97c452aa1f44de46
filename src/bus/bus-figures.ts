/** What one Redis says about itself. `null`: it does not say, or does not permit to ask. */
export interface BusNode {
  /** `127.0.0.1:6379` */
  readonly where: string;
  /** Time of a PING, in ms. */
  readonly ping: number | null;
  /** Values of `INFO`, by their names there. */
  readonly info: Readonly<Record<string, string>> | null;
  /** Bytes after which a slow subscriber is disconnected; 0 for no limit. */
  readonly bufferLimit: number | null;
}

/** Asks a broker for its figures. */
export interface BusFigures {
  /** Resolves after at most 2.5 s; `null` without an answer. Never rejects. */
  read(): Promise<readonly BusNode[] | null>;
  stop(): void;
}

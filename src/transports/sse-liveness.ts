/** Ticks between two comments to a client, and between two looks at acknowledgements. */
const TICKS_PER_COMMENT = 60;
const TICKS_PER_CHECK = 2;

/** ms without an acknowledgement of what was sent, after which a client is gone. */
const GONE_AFTER = 6_000;

/** How often the descriptor of a connection is looked for. */
const MAX_SEARCHES = 3;

/** The remote end of a TCP connection. */
export interface RemoteEnd {
  readonly address: string;
  readonly port: number;
}

/** What the system knows of the bytes sent on a connection. */
export interface SentBytes {
  /** Bytes acknowledged since it was opened. */
  acknowledged: number;
  /** Segments sent and not acknowledged. */
  inFlight: number;
  /** Bytes that the system could not send yet: the client does not read, or cannot be reached. */
  unsent: number;
  /** ms since the last acknowledgement. */
  age: number;
}

/** Looks at TCP connections of this process. */
export interface TcpProbe {
  /** Finds the descriptors of connections by remote end. One pass over all descriptors. */
  find<T>(wanted: ReadonlyMap<T, RemoteEnd>): ReadonlyMap<T, number>;
  /** Reads into `sent`; `false` if the descriptor is not of that connection any more. */
  read(descriptor: number, remote: RemoteEnd, sent: SentBytes): boolean;
}

/** A client as this sees it. */
export interface LiveClient {
  readonly remote: RemoteEnd | null;
  /** Whether frames wait because the client, or the network, does not take them. */
  readonly blocked: boolean;
  /** Whether something was sent since all of it was known to have arrived. */
  unconfirmed: boolean;
  /** The tick of the last write. */
  writtenAt: number;
  lastSeen: number;
  /** Sends a comment. */
  ping(): void;
  cutOff(reason: string): void;
}

interface Watched {
  /** `null` while it is not known. */
  descriptor: number | null;
  searches: number;
  /** The slot of its comments. */
  readonly slot: number;
  acknowledged: number;
  /** Since when sent bytes are not acknowledged (`performance.now()`); 0 if they are. */
  since: number;
}

/**
 * Sends comments to SSE clients, and ends those that are gone. Bun reports a client that closed its connection; one that vanished
 * does not acknowledge what is sent to it, which only the system knows. Where it cannot be asked, accepted bytes count as a
 * sign of life, and the client stays until the system gives up.
 */
export class SseLiveness {
  readonly #open: () => Promise<TcpProbe | null>;
  readonly #clients = new Map<LiveClient, Watched>();
  readonly #slots = Array.from({ length: TICKS_PER_COMMENT }, () => new Set<LiveClient>());
  readonly #unconfirmed = new Set<LiveClient>();
  /** Clients whose descriptor is not known. */
  readonly #unknown = new Map<LiveClient, RemoteEnd>();
  readonly #sent: SentBytes = { acknowledged: 0, inFlight: 0, unsent: 0, age: 0 };
  /** `undefined` until it is open. */
  #probe: TcpProbe | null | undefined = undefined;
  #opened = false;
  #ticks = 0;

  /** @param open creates the probe, called for the first client; `null` where the system has none */
  constructor(open: () => Promise<TcpProbe | null>) {
    this.#open = open;
  }

  get size(): number {
    return this.#clients.size;
  }

  add(client: LiveClient): void {
    const slot = this.#ticks % TICKS_PER_COMMENT;
    this.#clients.set(client, { descriptor: null, searches: 0, slot, acknowledged: 0, since: 0 });
    this.#slots[slot]?.add(client);
    if (client.remote !== null && this.#probe !== null) this.#unknown.set(client, client.remote);
    if (this.#opened) return;
    this.#opened = true;
    void this.#open().then((probe) => {
      this.#probe = probe;
      if (probe === null) this.#unknown.clear();
    });
  }

  remove(client: LiveClient): void {
    const watched = this.#clients.get(client);
    if (watched === undefined) return;
    this.#clients.delete(client);
    this.#slots[watched.slot]?.delete(client);
    this.#unconfirmed.delete(client);
    this.#unknown.delete(client);
  }

  /** Something was sent to a client. */
  written(client: LiveClient): void {
    client.writtenAt = this.#ticks;
    if (client.unconfirmed) return;
    client.unconfirmed = true;
    this.#unconfirmed.add(client);
  }

  /** To be called every 250 ms. */
  tick(): void {
    this.#ticks++;
    for (const client of this.#slots[this.#ticks % TICKS_PER_COMMENT] ?? []) client.ping();
    if (this.#ticks % TICKS_PER_CHECK !== 0) return;
    this.#find();
    const now = performance.now();
    for (const client of this.#unconfirmed) this.#check(client, now);
  }

  #find(): void {
    if (!this.#probe || this.#unknown.size === 0) return;
    const found = this.#probe.find(this.#unknown);
    for (const client of this.#unknown.keys()) {
      const watched = this.#clients.get(client);
      if (watched === undefined) continue;
      watched.descriptor = found.get(client) ?? null;
      if (watched.descriptor !== null || ++watched.searches === MAX_SEARCHES) this.#unknown.delete(client);
    }
  }

  #check(client: LiveClient, now: number): void {
    const watched = this.#clients.get(client);
    if (watched === undefined) return;
    const { descriptor } = watched;
    if (!this.#probe || descriptor === null || client.remote === null) {
      if (!client.blocked && !this.#unknown.has(client)) this.#confirm(client, watched, now);
      return;
    }
    const sent = this.#sent;
    // The connection is closed although Bun has not reported it.
    if (!this.#probe.read(descriptor, client.remote, sent)) return client.cutOff("silent");
    // Bun writes at the end of a turn: the system may not have what was sent just now.
    const settled = !client.blocked && client.writtenAt < this.#ticks - 1;
    if (settled && sent.inFlight === 0 && sent.unsent === 0) return this.#confirm(client, watched, now);
    if (sent.acknowledged > watched.acknowledged || sent.inFlight === 0) {
      if (sent.acknowledged > watched.acknowledged) client.lastSeen = now;
      watched.acknowledged = sent.acknowledged;
      watched.since = 0;
    } else if (watched.since === 0) {
      watched.since = now;
    } else if (now - watched.since >= GONE_AFTER && sent.age >= GONE_AFTER) {
      client.cutOff("silent");
    }
  }

  /** All that was sent has arrived. */
  #confirm(client: LiveClient, watched: Watched, now: number): void {
    client.lastSeen = now;
    client.unconfirmed = false;
    watched.since = 0;
    this.#unconfirmed.delete(client);
  }
}

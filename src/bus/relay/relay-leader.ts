import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { OthersInterest } from "./interest.ts";
import { parseHello, printHello, type RelayHello, socketIn } from "./relay-link.ts";
import { RingWriter } from "./relay-ring.ts";

/** Sent to a follower that waits. */
const WAKE = "\n";

export interface LeaderOptions {
  /** Of the workers of this machine. */
  readonly folder: string;
  /** The number of this one. */
  readonly worker: number;
  /** Bytes of messages that the ring holds. */
  readonly size: number;
  /** The address of the Redis that is subscribed. */
  readonly remote: string;
}

interface Follower {
  worker: number | null;
}

type FollowerSocket = Bun.Socket<Follower>;

/** The worker that passes on what it receives: a ring, and a unix socket at which followers ask for it. */
export class RelayLeader {
  readonly #options: LeaderOptions;
  readonly #listener: Bun.UnixSocketListener<Follower>;
  readonly #sockets = new Map<number, FollowerSocket>();
  #ring: RingWriter;
  #path: string;
  /** Rings so far. */
  #rings = 0;
  readonly #toWake: number[] = [];
  /** Runs when all messages of a chunk are written, so that a follower reads them in one turn. */
  readonly #wakeAll = (): void => {
    for (const follower of this.#toWake.splice(0)) this.#sockets.get(follower)?.write(WAKE);
  };

  /** @throws Error if there is no room for the ring, or no place for the socket */
  constructor(options: LeaderOptions) {
    this.#options = options;
    removeRings(options.folder);
    [this.#path, this.#ring] = this.#createRing();
    const unix = socketIn(options.folder, options.worker);
    rmSync(unix, { force: true });
    this.#listener = Bun.listen<Follower>({
      unix,
      data: { worker: null },
      socket: {
        open: (socket) => {
          socket.data = { worker: null };
        },
        data: (socket, chunk) => this.#asked(socket, chunk),
        close: (socket) => this.#closed(socket),
        error: () => {},
      },
    });
  }

  get followers(): number {
    return this.#ring.followers;
  }

  /** @throws Error if there is no room for another ring: this leader is of no use any more */
  append(name: Buffer, payload: Buffer): void {
    if (!this.#ring.append(name, payload)) this.#renew();
  }

  /** To be called several times a second: followers give up a leader that does not. */
  beat(): void {
    this.#ring.beat();
  }

  /** Accepts no further followers. */
  close(): void {
    this.#listener.stop();
  }

  /** Ends all followers. */
  stop(): void {
    this.#endAll();
    this.#listener.stop(true);
    rmSync(this.#path, { force: true });
  }

  #createRing(): [string, RingWriter] {
    const { folder, worker, size } = this.#options;
    const path = join(folder, `relay-${worker}-${++this.#rings}`);
    const ring = new RingWriter(path, size, {
      wake: (follower) => {
        if (this.#toWake.push(follower) === 1) queueMicrotask(this.#wakeAll);
      },
      evicted: (follower) => void this.#sockets.get(follower)?.terminate(),
    });
    return [path, ring];
  }

  /** The ring cannot take a message: it is too long, or a follower still reads what would be overwritten. All followers subscribe again. */
  #renew(): void {
    this.#endAll();
    rmSync(this.#path, { force: true });
    [this.#path, this.#ring] = this.#createRing();
  }

  #endAll(): void {
    for (const socket of this.#sockets.values()) {
      // They still read what is in the ring, which is not written any more.
      socket.data.worker = null;
      socket.terminate();
    }
    this.#sockets.clear();
  }

  #asked(socket: FollowerSocket, chunk: Buffer): void {
    const hello = parseHello(chunk);
    const interest = hello === null ? null : this.#interestOf(hello.worker);
    if (hello === null || interest === null || this.#sockets.has(hello.worker)) {
      socket.terminate();
      return;
    }
    const { worker } = hello;
    socket.data.worker = worker;
    this.#sockets.set(worker, socket);
    this.#ring.attach(worker, interest);
    const answer: RelayHello = {
      worker: this.#options.worker,
      remote: this.#options.remote,
      ring: this.#path,
    };
    socket.write(printHello(answer));
  }

  #interestOf(worker: number): OthersInterest | null {
    try {
      return new OthersInterest(this.#options.folder, worker);
    } catch {
      return null;
    }
  }

  #closed(socket: FollowerSocket): void {
    const { worker } = socket.data;
    if (worker === null) return;
    this.#sockets.delete(worker);
    this.#ring.detach(worker);
  }
}

/** Removes the rings of leaders that were killed. */
function removeRings(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (/^relay-\d+-\d+$/.test(name)) rmSync(join(folder, name), { force: true });
  }
}

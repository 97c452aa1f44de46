import { parseHello, printHello, socketIn } from "./relay-link.ts";
import { type ReadMessage, RingReader } from "./relay-ring.ts";

/** Ticks without a heartbeat of the leader after which it is given up. */
const SILENT_TICKS = 13;

export interface FollowerOwner {
  /** The ring can be read. `remote`: the address of the Redis that the leader is subscribed to. */
  attached(remote: string): void;
  readonly message: ReadMessage;
  /** The leader is gone, or this follower was too slow. Called once; nothing is read afterwards. */
  lost(reason: string): void;
}

export interface FollowerOptions {
  readonly folder: string;
  /** The number of this worker, and of the leader. */
  readonly worker: number;
  readonly leader: number;
  /** The address of the Redis that this worker is subscribed to. */
  readonly remote: string;
}

/** Reads what the leader receives. */
export class RelayFollower {
  readonly #options: FollowerOptions;
  readonly #owner: FollowerOwner;
  #socket: Bun.Socket | null = null;
  #ring: RingReader | null = null;
  /** Whether the owner wants no further messages for now. */
  #held = false;
  #again: NodeJS.Immediate | null = null;
  #ended = false;
  #beat = 0;
  #silent = 0;

  constructor(options: FollowerOptions, owner: FollowerOwner) {
    this.#options = options;
    this.#owner = owner;
    const { folder, leader, worker, remote } = options;
    void Bun.connect({
      unix: socketIn(folder, leader),
      socket: {
        open: (socket) => {
          this.#socket = socket;
          if (this.#ended) socket.terminate();
          else socket.write(printHello({ worker, remote, ring: "" }));
        },
        data: (_, chunk) => this.#received(chunk),
        close: () => this.#closed(),
        error: () => {},
      },
    }).catch(() => this.#end("it does not answer"));
  }

  /** Reads what this follower was not woken for. */
  catchUp(): void {
    this.#read();
  }

  /** The channels of a slot have listeners from now on: none gets what was written before. */
  began(slot: number): void {
    this.#ring?.leaveOut(slot);
  }

  /** Continues after `message` has returned false. */
  resume(): void {
    this.#held = false;
    this.#read();
  }

  /** To be called several times a second. */
  tick(): void {
    this.#read();
    const beat = this.#ring?.beat ?? 0;
    if (beat !== this.#beat) this.#silent = 0;
    else if (++this.#silent >= SILENT_TICKS) this.#end("it does not answer");
    this.#beat = beat;
  }

  /** The owner is not called afterwards. */
  close(): void {
    this.#ended = true;
    if (this.#again !== null) clearImmediate(this.#again);
    this.#socket?.terminate();
  }

  #received(chunk: Buffer): void {
    if (this.#ended) return;
    if (this.#ring === null) {
      const hello = parseHello(chunk);
      if (hello === null) return this.#end("it sent what is no answer");
      try {
        this.#ring = new RingReader(hello.ring, this.#options.worker);
      } catch (error) {
        return this.#end(error instanceof Error ? error.message : String(error));
      }
      this.#owner.attached(hello.remote);
    }
    this.#read();
  }

  #read(all = false): void {
    if (this.#ended || this.#held || this.#ring === null) return;
    const result = this.#ring.read(this.#owner.message, all);
    if (result === "stopped") this.#held = true;
    else if (result === "evicted") this.#end("this worker was too slow");
    else if (result === "more") {
      this.#again ??= setImmediate(() => {
        this.#again = null;
        this.#read();
      });
    }
  }

  /** What is written until then is read. */
  #closed(): void {
    this.#read(true);
    this.#end("it has ended its subscription");
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.close();
    this.#owner.lost(`worker ${this.#options.leader}, which receives for this one: ${reason}`);
  }
}

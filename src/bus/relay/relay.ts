import type { Log } from "../../log.ts";
import type { Greeting } from "../bus.ts";
import type { Interest } from "./interest.ts";
import { RelayFollower } from "./relay-follower.ts";
import { RelayLeader } from "./relay-leader.ts";
import { MAX_FOLLOWERS } from "./relay-ring.ts";

/** Where the workers of a machine agree on the one that receives for all. */
export interface RelayPlace {
  /** Only this user can read it. */
  readonly folder: string;
  /** The number of this worker, from 1. */
  readonly worker: number;
  /** The channels that this worker has listeners for. */
  readonly interest: Interest;
  /** Time (ms) that a leader which stops gives its followers to end, too. */
  readonly linger: number;
  /** The number of the leader; 0: there is none. */
  leader(): number;
  /** Makes this worker the leader, if there is none. */
  lead(): boolean;
  /** If this worker is the leader, there is none from now on. */
  resign(): void;
}

export interface RelayOwner {
  /** As `BusListener.message`. */
  message(name: Buffer, payload: Buffer, room?: number): void;
  /** As `BusListener.unheard`. */
  unheard(name: Buffer, bytes: number): void;
  /** The address of the Redis that is subscribed, and that is published to; `null` if they differ or there is none. */
  remote(): string | null;
  /** Asks Redis whether a part of the subscription may be ended. Answered by `permitted`. */
  askPermission(): void;
  /** Publishes a message that no other one equals; `null` if that is not possible. */
  mark(): Greeting | null;
  /** Messages come from another worker now: Redis is to send no more of them. */
  relayed(): void;
  /** Messages may be missing: the owner must subscribe again. */
  failed(reason: string): void;
}

export interface RelayOptions {
  readonly place: RelayPlace;
  /** Bytes of the longest payload. */
  readonly longest: number;
  readonly log: Log;
}

/** `attaching`: both subscriptions are read. */
type Mode = "unsubscribed" | "alone" | "attaching" | "following" | "leading";

/** Ticks between a subscription and the first attempt to lead or to follow. */
const SETTLED = 5;
/** Ticks between two attempts. */
const AGAIN = 25;
/** Ticks after which an attempt to follow has failed. */
const ATTACHING = 15;

/** Bytes of a ring, at least and at most. */
const LEAST = 8 * 1024 * 1024;
const MOST = 64 * 1024 * 1024;

/** Longest pause after failures, in ticks: 5 minutes. */
const LONGEST = 1500;

/** Time (ms) between two checks whether followers have ended. */
const LINGER_CHECK = 20;

/**
 * Lets one worker of a machine, the leader, receive for all: it writes each message into shared memory (the ring), where the
 * others, its followers, read it. Each worker subscribes by itself first. It changes over at a message that its subscription and
 * the ring both contain (`mark`): it reads its subscription up to it, and the ring after it, so that no message is missing or
 * repeated. A follower that loses its leader subscribes again, with a gap as after any lost connection.
 */
export class Relay {
  readonly #place: RelayPlace;
  readonly #owner: RelayOwner;
  readonly #size: number;
  readonly #log: Log;
  #mode: Mode = "unsubscribed";
  #leader: RelayLeader | null = null;
  #follower: RelayFollower | null = null;
  /** The payload of the mark; `null` when the ring has reached it. */
  #mark: Buffer | null = null;
  /** Whether the ring waits at the mark for this worker's own subscription. */
  #waits = false;
  /** Whether Redis permits to end a part of the subscription; `null` while it has not answered. */
  #permission: boolean | null = null;
  /** Whether there was memory for a ring, as far as is known. */
  #mayLead = true;
  #pause = 0;
  /** Attempts to follow that failed, one after the other. */
  #failures = 0;
  #attaching = 0;
  #stopping = false;

  constructor({ place, longest, log }: RelayOptions, owner: RelayOwner) {
    this.#place = place;
    this.#owner = owner;
    this.#log = log;
    this.#size = LEAST;
    place.interest.catchUp = () => this.#follower?.catchUp();
    place.interest.began = (slot) => this.#follower?.began(slot);
    // A message is at most half of the ring, with its name.
    while (this.#size < 2.1 * longest) this.#size *= 2;
  }

  /** A message of this worker's own subscription. */
  own(name: Buffer, payload: Buffer, room: number): void {
    switch (this.#mode) {
      case "following":
        return;
      case "leading":
        this.#pass(name, payload);
        this.#owner.message(name, payload, room);
        return;
      case "attaching":
        this.#owner.message(name, payload, room);
        if (this.#mark?.equals(payload)) this.#follow();
        return;
      default:
        this.#owner.message(name, payload, room);
    }
  }

  #pass(name: Buffer, payload: Buffer): void {
    try {
      this.#leader?.append(name, payload);
    } catch (error) {
      this.#endLeading();
      this.#mode = "alone";
      this.#noMemory(error);
    }
  }

  /** This worker's own subscription is confirmed. */
  subscribed(): void {
    this.#mode = "alone";
    this.#pause = SETTLED;
  }

  /** This worker's own connection is lost. */
  lost(): void {
    this.#detach();
    this.#endLeading();
    this.#mode = "unsubscribed";
  }

  permitted(isPermitted: boolean): void {
    if (!isPermitted && this.#permission !== false)
      this.#log.info("Redis refused PUNSUBSCRIBE, each worker receives all messages");
    this.#permission = isPermitted;
  }

  /** To be called several times a second. */
  tick(): void {
    if (this.#mode === "leading") this.#leader?.beat();
    else if (this.#mode === "alone") this.#look();
    else {
      this.#follower?.tick();
      if (this.#mark !== null && ++this.#attaching > ATTACHING) this.#giveUp();
    }
  }

  /** A leader waits until all followers have ended, for at most `linger`. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#leader?.close();
    for (
      let waited = 0;
      waited < this.#place.linger && (this.#leader?.followers ?? 0) > 0;
      waited += LINGER_CHECK
    ) {
      await Bun.sleep(LINGER_CHECK);
    }
    this.lost();
  }

  #look(): void {
    if (this.#stopping || --this.#pause > 0) return;
    this.#pause = AGAIN;
    const { worker } = this.#place;
    const remote = this.#owner.remote();
    if (remote === null || this.#size > MOST || worker > MAX_FOLLOWERS) return;
    const leader = this.#place.leader();
    if (leader === worker) this.#place.resign();
    else if (leader === 0 && this.#mayLead) this.#lead(remote);
    else if (leader === 0) return;
    else if (this.#permission === null) this.#askPermission();
    else if (this.#permission) this.#attach(leader, remote);
  }

  #askPermission(): void {
    this.#pause = 1;
    this.#owner.askPermission();
  }

  #lead(remote: string): void {
    if (!this.#place.lead()) {
      this.#pause = SETTLED;
      return;
    }
    const { folder, worker } = this.#place;
    try {
      this.#leader = new RelayLeader({ folder, worker, size: this.#size, remote });
    } catch (error) {
      this.#place.resign();
      this.#noMemory(error);
      return;
    }
    this.#mode = "leading";
    this.#log.debug("receives messages for all workers");
  }

  #noMemory(error: unknown): void {
    this.#mayLead = false;
    const reason = error instanceof Error ? error.message : String(error);
    this.#log.info("no shared memory, each worker receives all messages", { bytes: this.#size, reason });
  }

  #attach(leader: number, remote: string): void {
    const { folder, worker } = this.#place;
    this.#mode = "attaching";
    this.#attaching = 0;
    this.#waits = false;
    this.#follower = new RelayFollower(
      { folder, worker, leader, remote },
      {
        attached: (other) => {
          const mark = other === remote ? this.#owner.mark() : null;
          if (mark === null) this.#giveUp();
          else this.#mark = Buffer.from(mark.payload);
        },
        message: (name, payload, bytes) => this.#relayed(name, payload, bytes),
        lost: (reason) => this.#leaderLost(reason),
      },
    );
  }

  /** A message of the ring. Those before the mark came by this worker's own subscription. */
  #relayed(name: Buffer, payload: Buffer | null, bytes: number): boolean {
    if (this.#follower === null) return false;
    if (this.#mark === null) {
      if (payload === null) this.#owner.unheard(name, bytes);
      else this.#owner.message(name, payload);
      return true;
    }
    if (payload === null || !this.#mark.equals(payload)) return true;
    if (this.#mode === "following") {
      this.#passMark();
      return true;
    }
    this.#waits = true;
    return false;
  }

  /** This worker's own subscription has reached the mark. */
  #follow(): void {
    this.#mode = "following";
    this.#owner.relayed();
    this.#log.debug("another worker receives messages for this one", { leader: this.#place.leader() });
    if (!this.#waits) return;
    this.#passMark();
    this.#follower?.resume();
  }

  #passMark(): void {
    this.#mark = null;
    this.#failures = 0;
  }

  #leaderLost(reason: string): void {
    const isFollowing = this.#mode === "following";
    this.#detach();
    this.#pause = Math.min(LONGEST, AGAIN * 2 ** this.#failures++);
    if (isFollowing) this.#owner.failed(reason);
    else this.#mode = "alone";
  }

  #giveUp(): void {
    this.#leaderLost("it is not the same subscription");
  }

  #detach(): void {
    this.#follower?.close();
    this.#follower = null;
    this.#mark = null;
  }

  #endLeading(): void {
    if (this.#leader === null) return;
    this.#leader.stop();
    this.#leader = null;
    this.#place.resign();
  }
}

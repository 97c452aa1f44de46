import { type Channel, LongPoll, Socket } from "phoenix";
import { short } from "./inbox.ts";
import type { Transport } from "./phoenix-client.ts";
import { mint } from "./phoenix-client.ts";
import { SECRET } from "./world.ts";

/** What was published: numbers from 1 in each topic. */
export interface Published {
  readonly last: Map<string, number>;
  /** `topic number` of messages of which it is not known whether Redis got them. */
  readonly uncertain: Set<string>;
}

/** A join that was answered with `recovered: false`, or a gap. */
export interface Loss {
  readonly kind: "join" | "gap";
  readonly reason: string;
  /** The position that the client had. */
  readonly position: string | null;
  /** The server, as the test names it. */
  readonly server: number;
  readonly at: number;
}

export interface FollowerOptions {
  readonly name: string;
  readonly url: string;
  readonly transport: Transport;
  readonly topics: readonly string[];
  readonly published: Published;
  /** The server that the client is connected to now. */
  readonly server: () => number;
}

/** One topic of a follower, and what it must get next. */
class Followed {
  /** The three lines of the documentation keep this. */
  position: string | null = null;
  last = 0;
  /** Whether messages may be missing before the next one: the client was notified of it. */
  #resets = true;
  /** All messages up to this one have had their position sent: none may come again. */
  #reported = 0;
  readonly #topic: string;
  readonly #options: FollowerOptions;
  readonly #problem: (text: string) => void;

  constructor(topic: string, options: FollowerOptions, problem: (text: string) => void) {
    this.#topic = topic;
    this.#options = options;
    this.#problem = problem;
  }

  /** @param anywhere the messages that follow may be some that it has received: its new server may be late */
  reset(anywhere: boolean): void {
    this.#resets = true;
    if (anywhere) this.last = 0;
    this.#reported = this.last;
  }

  report(): void {
    this.#reported = this.last;
  }

  received(number: number, binary: boolean): void {
    const { last } = this;
    if (number <= last) {
      const again = binary && number > this.#reported;
      if (!again) this.#problem(`${this.#topic}: ${number} after ${last}: twice or out of order`);
      return;
    }
    if (!this.#resets) {
      for (let missing = last + 1; missing < number; missing++) {
        if (this.#options.published.uncertain.has(`${this.#topic} ${missing}`)) continue;
        this.#problem(`${this.#topic}: ${number} after ${last}: ${missing} is missing`);
        break;
      }
    }
    this.#resets = false;
    this.last = number;
  }
}

/**
 * A client with the real phoenix.js and the three lines of the documentation, which checks that each message comes once and in
 * order unless it was notified of a loss.
 */
export class Follower {
  readonly problems: string[] = [];
  readonly losses: Loss[] = [];
  recovered = 0;
  firsts = 0;
  readonly socket: Socket;
  readonly #options: FollowerOptions;
  readonly #channels: Channel[] = [];
  readonly #followed = new Map<string, Followed>();

  constructor(options: FollowerOptions) {
    this.#options = options;
    const quick = (tries: number): number => Math.min(20 * 2 ** tries, 300) * (0.5 + Math.random());
    this.socket = new Socket(`${options.url.replace("http", "ws")}/websocket`, {
      ...(options.transport === "longpoll" ? { transport: LongPoll } : {}),
      reconnectAfterMs: quick,
      rejoinAfterMs: quick,
    });
    this.socket.connect();
    for (const topic of options.topics) this.#follow(topic);
  }

  /** Whether all topics are joined. */
  get joined(): boolean {
    return this.#channels.every(({ state }) => state === "joined");
  }

  /** The position in each topic. */
  get positions(): (string | null)[] {
    return [...this.#followed.values()].map(({ position }) => position);
  }

  /** The number of the last message of a topic. */
  last(topic: string): number {
    return this.#followed.get(topic)?.last ?? 0;
  }

  stop(): void {
    this.socket.disconnect();
  }

  #follow(topic: string): void {
    const followed = new Followed(topic, this.#options, (text) =>
      this.problems.push(`${this.#options.name} ${text} after:\n    ${story.join("\n    ")}`),
    );
    this.#followed.set(topic, followed);
    const token = mint({ id: this.#options.name, channel: topic }, SECRET);
    /** For the message of a failed test. */
    const story: string[] = [];
    let asked: string | null = null;
    const channel = this.socket.channel(topic, () => {
      asked = followed.position;
      story.push(`join ${asked}`);
      return { token, recover: followed.position };
    });
    this.#channels.push(channel);
    channel.onMessage = (event, payload, ref) => {
      if (!event.startsWith("presence")) story.push(`${event} ${ref} ${short(JSON.stringify(payload), 100)}`);
      if (story.length > 20) story.shift();
      if (channel.state === "joined" && ref?.includes("-")) followed.position = ref;
      if (event === "gap") this.#lost(followed, "gap", String(Object(payload).reason), ref ?? null);
      else if (event === "n" || event === "b")
        followed.received(numberIn(payload), payload instanceof ArrayBuffer);
      if (ref?.includes("-")) followed.report();
      return payload;
    };
    channel.join().receive("ok", (answer) => {
      const { position, recovered, reason } = Object(answer);
      followed.position = position ?? followed.position;
      if (recovered === true) this.recovered++;
      else if (recovered === false) this.#lost(followed, "join", String(reason), asked);
      else this.#first(followed, asked);
    });
  }

  #first(followed: Followed, asked: string | null): void {
    if (asked !== null) this.problems.push(`${this.#options.name}: recovered is null for ${asked}`);
    this.firsts++;
    followed.reset(true);
  }

  #lost(followed: Followed, kind: Loss["kind"], reason: string, position: string | null): void {
    this.losses.push({ kind, reason, position, server: this.#options.server(), at: Date.now() });
    followed.reset(kind === "join");
  }
}

/** A message of the publisher: `{"n":1}`, or bytes of which the last four are the number. */
function numberIn(payload: unknown): number {
  if (payload instanceof ArrayBuffer) return new DataView(payload).getUint32(payload.byteLength - 4);
  const { n, base64 } = Object(payload);
  return typeof base64 === "string" ? Buffer.from(base64, "base64").readUInt32BE(3) : Number(n);
}

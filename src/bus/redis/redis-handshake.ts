import type { Greeting, SubscribedFamily } from "../bus.ts";
import { bulk, bulkHead, request } from "../resp.ts";
import { RedisError, type RedisValue } from "./redis-reply.ts";

/** What Redis may refuse without harm to the subscription of `to:*`. */
export type Refusable = "TIME" | "hub:*" | "reply:*";

/** Receives the results of a handshake. */
export interface HandshakeOwner {
  write(data: Buffer): void;
  /** What to publish as the first message, as `BusListener.greeting`; `null`: nothing. */
  readonly greeting: ((brokerTime: number, node: string) => Greeting | null) | null;
  /** The subscription is confirmed. */
  confirmed(): void;
  /** All replies are read. `resp2`: the connection uses RESP2 now. */
  finished(resp2: boolean): void;
  /** Redis refused a part that the subscription can do without. */
  refused(what: Refusable, reason: string): void;
  /** There is no subscription. */
  failed(reason: string): void;
}

export interface HandshakeOptions {
  readonly families: readonly SubscribedFamily[];
  /** Added before each name in Redis. */
  readonly prefix: string;
  /** Whether the server is known to be a node of a cluster. */
  readonly clustered: boolean;
  /** Names the node if it does not give its id. */
  readonly address: string;
}

/** The reply that is expected next; a family is the confirmation of its pattern. */
type Step = "hello" | "time" | "node" | "multi" | "queued" | "exec" | "greeting" | "resp2" | SubscribedFamily;

const MULTI = request("MULTI");
const EXEC = request("EXEC");
const TIME = request("TIME");
const NODE = request("CLUSTER", "MYID");
const BACK_TO_RESP2 = request("HELLO", "2");

/**
 * The commands that subscribe a connection and publish the greeting on it. Redis runs `PSUBSCRIBE` and `PUBLISH` of one
 * write without those of other clients between, so the own greeting is the first message. RESP2 has no `PUBLISH` on a
 * subscribed connection, except in a transaction. After it the connection uses RESP2, whatever the server knows.
 */
export class RedisHandshake {
  readonly #owner: HandshakeOwner;
  /** Those that are subscribed together with the greeting, and those after it. */
  readonly #families: readonly SubscribedFamily[];
  readonly #later: readonly SubscribedFamily[];
  readonly #prefix: string;
  readonly #address: string;
  #clustered: boolean;
  #resp3 = false;
  #brokerTime = 0;
  /** Waits for the reply to MULTI. */
  #waiting: Greeting | null = null;
  #expected: Step[] = [];

  constructor(owner: HandshakeOwner, options: HandshakeOptions) {
    this.#owner = owner;
    // A refused command would fail the whole transaction, and answers to calls have no place in the order of messages.
    this.#families = options.families.filter((family) => family !== "reply");
    this.#later = options.families.filter((family) => family === "reply");
    this.#prefix = options.prefix;
    this.#clustered = options.clustered;
    this.#address = options.address;
  }

  /** Whether the next value is the list of replies of a transaction. Its items are read one by one. */
  get atTransaction(): boolean {
    return this.#expected[0] === "exec";
  }

  start(): void {
    if (this.#owner.greeting === null) this.#subscribeOnly();
    else this.#send(["hello", "time"], [request("HELLO", "3"), TIME]);
  }

  /** The head of the list of replies was read. */
  transactionBegins(): void {
    this.#expected.shift();
    if (this.#later.length > 0) this.#send(this.#later, this.#patterns(this.#later));
  }

  /** A value that is not a message. */
  reply(value: RedisValue): void {
    const step = this.#expected.shift();
    const error = value instanceof RedisError ? value.message : null;
    switch (step) {
      case "hello":
        this.#resp3 = error === null;
        if (fieldOf(value, "mode") === "cluster") this.#clustered = true;
        break;
      case "time":
        this.#timeIs(value, error);
        break;
      case "node":
        this.#greet(typeof value === "string" ? value : this.#address);
        break;
      case "multi":
        if (error === null && this.#waiting !== null) this.#subscribeInTransaction(this.#waiting);
        else this.#subscribeAlone(error ?? "");
        break;
      case "exec":
        // A command was refused, so none was run.
        this.#subscribeAlone(error ?? "");
        break;
      case "greeting":
        if (error !== null) this.#owner.refused("hub:*", error);
        break;
      case "resp2":
        this.#resp3 = error !== null;
        break;
      case "to":
      case "hub":
        if (error !== null) this.#familyRefused(step, error);
        else if (!this.#isOptional(step)) this.#owner.confirmed();
        break;
      case "reply":
        if (error !== null) this.#owner.refused("reply:*", error);
        break;
    }
    if (this.#expected.length === 0) this.#owner.finished(!this.#resp3);
  }

  #timeIs(value: RedisValue, error: string | null): void {
    const time = microseconds(value);
    if (time === null) this.#owner.refused("TIME", error ?? "not a time");
    this.#brokerTime = time ?? Date.now() * 1000;
    if (this.#clustered) this.#send(["node"], [NODE]);
    else this.#greet("");
  }

  #greet(node: string): void {
    const greeting = this.#owner.greeting?.(this.#brokerTime, node) ?? null;
    if (greeting === null) this.#subscribeOnly();
    else if (this.#resp3) {
      const commands = [
        ...this.#patterns(),
        this.#publish(greeting),
        ...this.#patterns(this.#later),
        BACK_TO_RESP2,
      ];
      this.#send([...this.#families, "greeting", ...this.#later, "resp2"], commands);
    } else {
      this.#waiting = greeting;
      this.#send(["multi"], [MULTI]);
    }
  }

  #subscribeInTransaction(greeting: Greeting): void {
    const commands = [...this.#patterns(), this.#publish(greeting)];
    const queued = commands.map((): Step => "queued");
    this.#send([...queued, "exec", ...this.#families, "greeting"], [...commands, EXEC]);
  }

  /** After the refusal of a transaction. */
  #subscribeAlone(reason: string): void {
    this.#owner.refused("hub:*", reason);
    this.#expected = [];
    this.#subscribeOnly();
  }

  #subscribeOnly(): void {
    const families = [...this.#families, ...this.#later];
    const patterns = this.#patterns(families);
    if (this.#resp3) this.#send([...families, "resp2"], [...patterns, BACK_TO_RESP2]);
    else this.#send(families, patterns);
  }

  #familyRefused(family: SubscribedFamily, reason: string): void {
    if (this.#isOptional(family)) this.#owner.refused("hub:*", reason);
    else this.#owner.failed(reason);
  }

  #isOptional(family: SubscribedFamily): boolean {
    return family === "hub" && this.#families.length > 1;
  }

  /** One command for each family: Redis refuses a command as a whole. */
  #patterns(families = this.#families): string[] {
    return families.map((family) => request("PSUBSCRIBE", `${this.#prefix}${family}:*`));
  }

  #publish({ name, payload }: Greeting): Buffer {
    const bytes = Buffer.from(payload);
    const whole = request("PUBLISH", this.#prefix + name, "");
    const head = whole.slice(0, -bulk("").length) + bulkHead(bytes.length);
    return Buffer.concat([Buffer.from(head, "latin1"), bytes, Buffer.from("\r\n")]);
  }

  #send(expected: readonly Step[], commands: readonly (string | Buffer)[]): void {
    this.#expected.push(...expected);
    const bytes = commands.map((each) => (typeof each === "string" ? Buffer.from(each, "latin1") : each));
    this.#owner.write(Buffer.concat(bytes));
  }
}

/** The value of a key in a map of Redis. */
function fieldOf(value: RedisValue, key: string): RedisValue {
  if (!Array.isArray(value)) return null;
  const at = value.findIndex((each, i) => i % 2 === 0 && each === key);
  return at < 0 ? null : value[at + 1];
}

/** The reply to TIME, as Unix time in microseconds. */
function microseconds(value: RedisValue): number | null {
  const [seconds, micros]: unknown[] = Array.isArray(value) ? value : [];
  const time = Number(seconds) * 1_000_000 + Number(micros);
  return Number.isSafeInteger(time) && time > 0 ? time : null;
}

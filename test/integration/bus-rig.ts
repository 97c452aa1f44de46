import { Redis } from "ioredis";
import type { BusListener, BusState, Greeting, PublishAck } from "../../src/bus/bus.ts";
import type { Fields, Log } from "../../src/log.ts";
import { Inbox, short } from "./inbox.ts";

export interface Message {
  readonly name: Buffer;
  readonly payload: Buffer;
}

/** A listener that keeps copies of messages and changes. */
export class RecordingListener implements BusListener {
  readonly messages = new Inbox<Message>(
    "bus",
    ({ name, payload }) => `${name}: ${short(payload.toString())}`,
  );
  readonly changes = new Inbox<BusState>("state of the bus", (state) => JSON.stringify(state));

  message(name: Buffer, payload: Buffer): void {
    this.messages.put({ name: Buffer.from(name), payload: Buffer.from(payload) });
  }

  changed(state: BusState): void {
    this.changes.put(state);
  }

  /** Waits for a message on a name. Returns its payload. */
  async on(name: string): Promise<Buffer> {
    const message = await this.messages.until((each) => each.name.equals(Buffer.from(name)), name);
    return message.payload;
  }
}

export interface GreetingCall {
  readonly brokerTime: number;
  readonly node: string;
}

/** A listener with a greeting, `<own name> <number>` on `hub:marker`; keeps one list of all calls, in order. */
export class GreetingListener extends RecordingListener {
  readonly greetings: GreetingCall[] = [];
  /** `greeting`, `lost`, or `<name> <payload>` of a message. */
  readonly calls = new Inbox<string>("calls", (call) => call);
  readonly #own: string;

  constructor(own: string) {
    super();
    this.#own = own;
  }

  greeting(brokerTime: number, node: string): Greeting {
    this.greetings.push({ brokerTime, node });
    this.calls.put("greeting");
    return { name: "hub:marker", payload: this.marker(this.greetings.length) };
  }

  lost(): void {
    this.calls.put("lost");
  }

  override message(name: Buffer, payload: Buffer): void {
    super.message(name, payload);
    this.calls.put(`${name} ${payload}`);
  }

  /** The payload of a greeting, counted from 1. */
  marker(number: number): string {
    return `${this.#own} ${number}`;
  }

  /** The messages since a greeting that was received, up to the loss of that subscription. */
  since(number: number): string[] {
    const { all } = this.calls;
    const start = all.indexOf(`hub:marker ${this.marker(number)}`);
    if (start < 0) throw new Error(`greeting ${number} was not received`);
    const end = all.indexOf("lost", start);
    return all.slice(start, end < 0 ? all.length : end);
  }
}

/** An ack that can be awaited. */
export class Settled implements PublishAck {
  readonly #settled = Promise.withResolvers<boolean>();
  readonly promise = this.#settled.promise;
  /** Number of calls; must not exceed one. */
  times = 0;

  settled(accepted: boolean): void {
    this.times++;
    this.#settled.resolve(accepted);
  }
}

export interface LogEntry {
  readonly level: keyof Log;
  readonly message: string;
  readonly fields: Fields;
}

/** A log that a test reads. */
export function recordingLog(): { readonly log: Log; readonly entries: LogEntry[]; text(): string } {
  const entries: LogEntry[] = [];
  const at =
    (level: keyof Log) =>
    (message: string, fields: Fields = {}) => {
      entries.push({ level, message, fields });
    };
  return {
    log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") },
    entries,
    text: () => JSON.stringify(entries),
  };
}

/** A backend: a separate client, with ioredis. */
export class Backend {
  readonly #publisher: Redis;
  readonly #subscriber: Redis;
  readonly #prefix: Buffer;
  readonly received = new Inbox<Message>(
    "backend",
    ({ name, payload }) => `${name}: ${short(payload.toString())}`,
  );

  private constructor(publisher: Redis, subscriber: Redis, prefix: string) {
    this.#prefix = Buffer.from(prefix);
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    subscriber.on("pmessageBuffer", (_pattern: string, name: Buffer, payload: Buffer) =>
      this.received.put({ name: Buffer.from(name.subarray(prefix.length)), payload: Buffer.from(payload) }),
    );
  }

  /** The names that this backend uses are without the prefix. */
  static async connect(
    port: number,
    { password, prefix = "" }: { readonly password?: string; readonly prefix?: string } = {},
  ): Promise<Backend> {
    const options = {
      host: "127.0.0.1",
      port,
      lazyConnect: true,
      ...(password === undefined ? {} : { password }),
    };
    const publisher = new Redis(options);
    const subscriber = new Redis(options);
    for (const each of [publisher, subscriber]) each.on("error", () => {});
    try {
      await Promise.all([publisher.connect(), subscriber.connect()]);
    } catch (error) {
      for (const each of [publisher, subscriber]) each.disconnect();
      throw error;
    }
    await subscriber.psubscribe(`${prefix}from:*`);
    return new Backend(publisher, subscriber, prefix);
  }

  /** Returns the number of receivers. */
  publish(name: string | Buffer, payload: string | Buffer): Promise<number> {
    return this.#publisher.publish(Buffer.concat([this.#prefix, Buffer.from(name)]), payload);
  }

  command(...words: [string, ...string[]]): Promise<unknown> {
    const [name, ...args] = words;
    return this.#publisher.call(name, ...args);
  }

  async on(name: string): Promise<Buffer> {
    const message = await this.received.until((each) => each.name.equals(Buffer.from(name)), name);
    return message.payload;
  }

  close(): void {
    this.#publisher.disconnect();
    this.#subscriber.disconnect();
  }
}

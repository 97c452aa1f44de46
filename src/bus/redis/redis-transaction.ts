import type { GroupAck, PublishAck } from "../bus.ts";
import { RedisError, type RedisValue } from "./redis-reply.ts";

export interface TransactionOptions {
  /** How many messages it has, without notes. */
  readonly names: number;
  /** Whether a note is published before and after them. */
  readonly isNoted: boolean;
  /** Whether they are sent between MULTI and EXEC. */
  readonly isOne: boolean;
  /** Redis does not permit a part. `execution`: EXEC, so that the connection is still in a transaction. */
  forbidden(what: "note" | "transaction" | "execution"): void;
  /** Nothing was published because of what is forbidden: publishes without it. */
  again(): void;
  readonly ack: GroupAck;
}

/** Collects the replies to a group of messages: that to MULTI, one for each message and note, and that to EXEC. */
export class Transaction implements PublishAck {
  readonly #options: TransactionOptions;
  readonly #accepted: boolean[] = [];
  #finished = false;

  constructor(options: TransactionOptions) {
    this.#options = options;
  }

  /** The next reply of one line. */
  settled(accepted: boolean): void {
    this.#accepted.push(accepted);
    const { isOne, isNoted, names } = this.#options;
    if (!isOne && this.#accepted.length === names + (isNoted ? 2 : 0)) this.#onesPublished();
  }

  /** The reply to EXEC; `null`: the connection ended. */
  executed(value: RedisValue): void {
    const { forbidden, again, isNoted } = this.#options;
    const begun = this.#accepted.shift() ?? false;
    if (value === null) return this.#finish("not", false);
    if (!begun) {
      // Each command was run on its own.
      forbidden("transaction");
      return this.#onesPublished();
    }
    if (!(value instanceof RedisError)) return this.#finish("together", isNoted);
    if (!value.message.startsWith("EXECABORT")) {
      this.#finish("not", false);
      return forbidden("execution");
    }
    if (!this.#allAccepted) return this.#finish("not", false);
    // With all commands accepted, EXEC itself was refused.
    forbidden(isNoted && !this.#noted ? "note" : "transaction");
    again();
  }

  get #messages(): readonly boolean[] {
    return this.#options.isNoted ? this.#accepted.slice(1, -1) : this.#accepted;
  }

  get #noted(): boolean {
    return this.#options.isNoted && this.#accepted.at(0) === true && this.#accepted.at(-1) === true;
  }

  get #allAccepted(): boolean {
    return this.#messages.every((each) => each);
  }

  #onesPublished(): void {
    if (this.#options.isNoted && !this.#noted && this.#allAccepted) this.#options.forbidden("note");
    // Other messages may be between the notes.
    this.#finish(this.#allAccepted ? "apart" : "not", false);
  }

  #finish(result: "together" | "apart" | "not", noted: boolean): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#options.ack.finished(result, noted);
  }
}

import { randomId } from "./random-id.ts";

/** Characters of an incarnation: among 10,000 of them, two are equal with a probability below one in a thousand. */
const INCARNATION_LENGTH = 6;

/** The most earlier incarnations that are remembered. */
const MAX_PREVIOUS = 32;

/** Who this server is among those on its Redis. Its connection ids begin with its incarnation. */
export class Identity {
  /** The configured name, for people; need not be unique. */
  readonly name: string;
  #incarnation = randomId(INCARNATION_LENGTH);
  #previous: string[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** Random, new at each start, and after this server was declared dead. */
  get incarnation(): string {
    return this.#incarnation;
  }

  /** Earlier incarnations of this process, the oldest first: connections that were opened under them keep their ids. */
  get previous(): readonly string[] {
    return this.#previous;
  }

  isOwn(incarnation: string): boolean {
    return incarnation === this.#incarnation || this.#previous.includes(incarnation);
  }

  /** Takes a new incarnation. */
  renew(): void {
    this.#previous = [...this.#previous, this.#incarnation].slice(-MAX_PREVIOUS);
    this.#incarnation = randomId(INCARNATION_LENGTH);
  }
}

/** The incarnation at the start of a connection id; shorter than an incarnation if the id is. */
export function incarnationOf(connectionId: string): string {
  return connectionId.slice(0, INCARNATION_LENGTH);
}

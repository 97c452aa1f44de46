/** How long a published message is waited for, in ms. */
const TIMEOUT = 1000;

/** Publications that are waited for at once; further ones get no position. */
const MAX_EXPECTED = 10_000;

interface Expected {
  readonly payload: Buffer;
  settle(seq: number | null): void;
}

/**
 * Finds the numbers of messages that this server published itself, when the bus delivers them. Of equal messages on one name
 * the first is taken: a client that resumes from its position misses nothing.
 */
export class Publications {
  #expected = 0;
  /** By name on the bus, without the prefix. No list is empty. */
  readonly #byName = new Map<string, Expected[]>();

  /** Whether `received` must be called. */
  get waiting(): boolean {
    return this.#expected > 0;
  }

  /** To be called before publishing. Resolves with the number of the message; `null` if it is not received within 1 s. */
  expect(name: string, payload: string | Uint8Array): Promise<number | null> {
    if (this.#expected >= MAX_EXPECTED) return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<number | null>();
    const timer = setTimeout(() => expected.settle(null), TIMEOUT);
    const expected: Expected = {
      payload: Buffer.from(payload),
      settle: (seq) => {
        clearTimeout(timer);
        this.#remove(name, expected);
        resolve(seq);
      },
    };
    this.#expected++;
    const others = this.#byName.get(name);
    if (others === undefined) this.#byName.set(name, [expected]);
    else others.push(expected);
    return promise;
  }

  /** A message of the bus. */
  received(name: Buffer, payload: Buffer, seq: number): void {
    this.#byName
      .get(name.toString("utf8"))
      ?.find((each) => each.payload.equals(payload))
      ?.settle(seq);
  }

  #remove(name: string, expected: Expected): void {
    const all = this.#byName.get(name);
    const index = all?.indexOf(expected) ?? -1;
    if (all === undefined || index < 0) return;
    this.#expected--;
    all.splice(index, 1);
    if (all.length === 0) this.#byName.delete(name);
  }
}

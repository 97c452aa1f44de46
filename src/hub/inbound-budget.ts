/** Bodies with a `content-length` up to this, in bytes, are read in one piece: that costs a third of the CPU. */
const SMALL = 16 * 1024;

/** Why a body was not read completely. */
export type ReadFault =
  /** Over the limit of its request. */
  | "too large"
  /** Not complete within `frameTimeout`. */
  | "too slow"
  /** All bodies together were over `maxInbound`, and this was the largest. */
  | "full"
  /** Its client is over its byte rate. */
  | "over budget"
  /** The connection ended. */
  | "broken";

/** A body, or why there is none. Its bytes are counted until `release`. */
export type ReadBody =
  | { readonly ok: true; readonly bytes: Uint8Array; release(): void }
  | { readonly ok: false; readonly fault: ReadFault };

/** A client whose byte rate is limited. `chargeBytes` returns whether it may send that many. */
export interface Payer {
  chargeBytes(bytes: number): boolean;
}

export interface InboundLimits {
  /** Maximum bytes of unfinished bodies and held back frames, of all clients together. */
  readonly maxInbound: number;
  /** A body must be complete within this time, in ms. */
  readonly frameTimeout: number;
}

interface Reading {
  bytes: number;
  readonly dueAt: number;
  /** Ends the reading early. */
  readonly stop: (fault: ReadFault) => void;
}

/**
 * One budget for what clients sent and is not handled yet: bodies that are being read, and frames held back while a token is
 * verified. Over the budget, the largest bodies are refused.
 */
export class InboundBudget {
  readonly #limits: InboundLimits;
  /** Bodies being read. All have the same timeout: the oldest is due first. */
  readonly #reading = new Set<Reading>();
  #bytes = 0;

  constructor(limits: InboundLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#bytes > this.#limits.maxInbound;
  }

  /** Counts bytes of a frame that is held back, until `remove`. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.full) this.#refuseLargest();
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
  }

  /**
   * Reads a request's body of at most `limit` bytes. A body with a greater `content-length` is not read at all. Never rejects.
   *
   * @param payer charged before anything is read, or for each part if there is no `content-length`
   */
  async read(request: Request, limit: number, payer: Payer | null): Promise<ReadBody> {
    const header = request.headers.get("content-length");
    const announced = header === null ? null : Number(header);
    if (announced !== null && announced > limit) return { ok: false, fault: "too large" };
    if (announced !== null && payer?.chargeBytes(announced) === false)
      return { ok: false, fault: "over budget" };
    if (request.body === null) return this.#finished(new Uint8Array(0), 0);
    try {
      return announced !== null && announced <= SMALL
        ? await this.#readWhole(request, announced)
        : await this.#readParts(request.body.getReader(), limit, announced === null ? payer : null);
    } catch {
      return { ok: false, fault: "broken" };
    }
  }

  /** Ends the bodies that are over their timeout. To be called several times a second. */
  tick(now: number): void {
    for (const reading of this.#reading) {
      if (reading.dueAt > now) return;
      this.#drop(reading, "too slow");
    }
  }

  async #readWhole(request: Request, announced: number): Promise<ReadBody> {
    const stopped = Promise.withResolvers<ReadFault>();
    const reading = this.#open(stopped.resolve);
    this.#count(reading, announced);
    let read: Uint8Array | ReadFault | null = null;
    try {
      read = await Promise.race([request.bytes(), stopped.promise]);
    } finally {
      if (read === null) this.#drop(reading, "broken");
      this.#reading.delete(reading);
    }
    if (typeof read === "string") return { ok: false, fault: read };
    return this.#finished(read, reading.bytes);
  }

  async #readParts(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    limit: number,
    payer: Payer | null,
  ): Promise<ReadBody> {
    const faults: ReadFault[] = [];
    const reading = this.#open((fault) => {
      faults.push(fault);
      reader.cancel().catch(() => {});
    });
    const parts: Uint8Array[] = [];
    let complete = false;
    try {
      while (faults.length === 0) {
        const { done, value } = await reader.read();
        complete = done;
        if (done) break;
        if (reading.bytes + value.byteLength > limit) this.#drop(reading, "too large");
        else if (payer?.chargeBytes(value.byteLength) === false) this.#drop(reading, "over budget");
        else if (faults.length === 0) {
          parts.push(value);
          this.#count(reading, value.byteLength);
        }
      }
    } finally {
      if (!complete) this.#drop(reading, "broken");
      this.#reading.delete(reading);
    }
    const [fault] = faults;
    if (fault !== undefined) return { ok: false, fault };
    const [only] = parts;
    return this.#finished(parts.length === 1 && only ? only : Buffer.concat(parts), reading.bytes);
  }

  #open(stop: (fault: ReadFault) => void): Reading {
    const reading = { bytes: 0, dueAt: performance.now() + this.#limits.frameTimeout, stop };
    this.#reading.add(reading);
    return reading;
  }

  #count(reading: Reading, bytes: number): void {
    reading.bytes += bytes;
    this.add(bytes);
  }

  /** Ends a body early, and stops to count its bytes. Does nothing the second time. */
  #drop(reading: Reading, fault: ReadFault): void {
    if (!this.#reading.delete(reading)) return;
    this.#bytes -= reading.bytes;
    reading.bytes = 0;
    reading.stop(fault);
  }

  #finished(bytes: Uint8Array, counted: number): ReadBody {
    let held = counted;
    return {
      ok: true,
      bytes,
      release: () => {
        this.#bytes -= held;
        held = 0;
      },
    };
  }

  #refuseLargest(): void {
    let largest: Reading | null = null;
    for (const reading of this.#reading)
      if (largest === null || reading.bytes > largest.bytes) largest = reading;
    if (largest !== null) this.#drop(largest, "full");
  }
}

/** Bodies announced as no larger than this are read in one piece: that costs a third of the CPU. */
const SMALL = 16 * 1024;

/** Why a body was not read to its end. */
export type ReadFault =
  /** It has more bytes than it may. */
  | "too large"
  /** It was not complete in time. */
  | "too slow"
  /** All together sent more than may be unfinished, and this was the largest. */
  | "full"
  /** Its sender is over its budget of bytes. */
  | "over budget"
  /** The connection ended. */
  | "broken";

/** A body, or why there is none. Its bytes stay counted until `release`. */
export type ReadBody =
  | { readonly ok: true; readonly bytes: Uint8Array; release(): void }
  | { readonly ok: false; readonly fault: ReadFault };

/** Who pays for the bytes of a body. `false`: it may not send that many. */
export interface Payer {
  chargeBytes(bytes: number): boolean;
}

export interface InboundLimits {
  /** Bytes that may be unfinished, of all clients together. */
  readonly maxInbound: number;
  /** ms within which a body must be complete. */
  readonly frameTimeout: number;
}

interface Reading {
  bytes: number;
  readonly dueAt: number;
  /** Ends it early. */
  readonly stop: (fault: ReadFault) => void;
}

/**
 * What clients sent that is not handled yet, in one budget: bodies that are being read, and frames held back while something
 * is verified. Over it, the largest bodies are refused.
 */
export class Inbound {
  readonly #limits: InboundLimits;
  /** Bodies being read. All have the same time: the oldest is due first. */
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

  /** Counts bytes that wait; each is to be given back with `remove`. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.full) this.#refuseLargest();
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
  }

  /**
   * Reads a request's body, no more than `most` bytes of it. What is announced as larger is not read at all. Never rejects.
   *
   * @param payer charged before anything is read, or with each part where no length is announced
   */
  async read(request: Request, most: number, payer: Payer | null): Promise<ReadBody> {
    const header = request.headers.get("content-length");
    const announced = header === null ? null : Number(header);
    if (announced !== null && announced > most) return { ok: false, fault: "too large" };
    if (announced !== null && payer?.chargeBytes(announced) === false)
      return { ok: false, fault: "over budget" };
    if (request.body === null) return this.#finished(new Uint8Array(0), 0);
    try {
      return announced !== null && announced <= SMALL
        ? await this.#readWhole(request, announced)
        : await this.#readParts(request.body.getReader(), most, announced === null ? payer : null);
    } catch {
      return { ok: false, fault: "broken" };
    }
  }

  /** To be called several times a second: ends the bodies that are not complete in time. */
  tick(now: number): void {
    for (const reading of this.#reading) {
      if (reading.dueAt > now) return;
      this.#drop(reading, "too slow");
    }
  }

  async #readWhole(request: Request, announced: number): Promise<ReadBody> {
    const stopped = Promise.withResolvers<ReadFault>();
    const reading = this.#begin(stopped.resolve);
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
    most: number,
    payer: Payer | null,
  ): Promise<ReadBody> {
    const faults: ReadFault[] = [];
    const reading = this.#begin((fault) => {
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
        if (reading.bytes + value.byteLength > most) this.#drop(reading, "too large");
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

  #begin(stop: (fault: ReadFault) => void): Reading {
    const reading = { bytes: 0, dueAt: performance.now() + this.#limits.frameTimeout, stop };
    this.#reading.add(reading);
    return reading;
  }

  #count(reading: Reading, bytes: number): void {
    reading.bytes += bytes;
    this.add(bytes);
  }

  /** Ends a body early, and counts its bytes no longer. Does nothing the second time. */
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

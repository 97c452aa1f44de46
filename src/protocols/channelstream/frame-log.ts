import type { Frame, FrameHolder } from "./frame.ts";

/** All frames that are kept, within one memory budget: over it, the oldest are dropped first, wherever they are kept. */
export class FrameBudget {
  readonly #maxBytes: number;
  readonly #frames = new Set<Frame>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  keep(frame: Frame, holder: FrameHolder): void {
    if (frame.holders.length === 0) {
      this.#frames.add(frame);
      this.#bytes += frame.bytes;
    }
    frame.holders.push(holder);
    this.#dropOldest();
  }

  /** To be called when a holder dropped a frame on its own. */
  release(frame: Frame, holder: FrameHolder): void {
    const at = frame.holders.indexOf(holder);
    if (at < 0) return;
    frame.holders.splice(at, 1);
    if (frame.holders.length > 0) return;
    this.#frames.delete(frame);
    this.#bytes -= frame.bytes;
  }

  #dropOldest(): void {
    for (const frame of this.#frames) {
      if (this.#bytes <= this.#maxBytes) return;
      for (const holder of frame.holders.splice(0)) holder.drop(frame);
      this.#frames.delete(frame);
      this.#bytes -= frame.bytes;
    }
  }
}

/** The newest frames of one kind, in their order. */
export class FrameLog implements FrameHolder {
  readonly #budget: FrameBudget;
  #frames: Frame[] = [];

  constructor(budget: FrameBudget) {
    this.#budget = budget;
  }

  get frames(): readonly Frame[] {
    return this.#frames;
  }

  /** Adds a frame and drops all but the newest `most`. */
  add(frame: Frame, most: number): void {
    this.#frames.push(frame);
    this.#budget.keep(frame, this);
    this.trim(most);
  }

  trim(most: number): void {
    const over = this.#frames.length - most;
    if (over <= 0) return;
    for (const frame of this.#frames.splice(0, over)) this.#budget.release(frame, this);
  }

  find(uuid: string): Frame | undefined {
    return this.#frames.find((frame) => frame.uuid === uuid);
  }

  replace(frame: Frame, other: Frame): void {
    const at = this.#frames.indexOf(frame);
    if (at < 0) return;
    this.#frames[at] = other;
    this.#budget.release(frame, this);
    this.#budget.keep(other, this);
  }

  remove(frame: Frame): void {
    this.drop(frame);
    this.#budget.release(frame, this);
  }

  drop(frame: Frame): void {
    const at = this.#frames.indexOf(frame);
    if (at >= 0) this.#frames.splice(at, 1);
  }
}

import type { Frame, FrameHolder } from "./frame.ts";

/** All frames that are kept, within one budget of memory: the oldest go first, wherever they are kept. */
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

  keep(frame: Frame, home: FrameHolder): void {
    if (frame.homes.length === 0) {
      this.#frames.add(frame);
      this.#bytes += frame.bytes;
    }
    frame.homes.push(home);
    this.#makeRoom();
  }

  /** To be told when a home let a frame go by itself. */
  release(frame: Frame, home: FrameHolder): void {
    const at = frame.homes.indexOf(home);
    if (at < 0) return;
    frame.homes.splice(at, 1);
    if (frame.homes.length > 0) return;
    this.#frames.delete(frame);
    this.#bytes -= frame.bytes;
  }

  #makeRoom(): void {
    for (const frame of this.#frames) {
      if (this.#bytes <= this.#maxBytes) return;
      for (const home of frame.homes.splice(0)) home.forget(frame);
      this.#frames.delete(frame);
      this.#bytes -= frame.bytes;
    }
  }
}

/** The newest frames of one kind, in their order. */
export class FrameLog implements FrameHolder {
  readonly #store: FrameBudget;
  #frames: Frame[] = [];

  constructor(store: FrameBudget) {
    this.#store = store;
  }

  get frames(): readonly Frame[] {
    return this.#frames;
  }

  /** Adds one and lets go of all but the newest `most`. */
  add(frame: Frame, most: number): void {
    this.#frames.push(frame);
    this.#store.keep(frame, this);
    this.trim(most);
  }

  trim(most: number): void {
    const over = this.#frames.length - most;
    if (over <= 0) return;
    for (const frame of this.#frames.splice(0, over)) this.#store.release(frame, this);
  }

  find(uuid: string): Frame | undefined {
    return this.#frames.find((frame) => frame.uuid === uuid);
  }

  replace(frame: Frame, other: Frame): void {
    const at = this.#frames.indexOf(frame);
    if (at < 0) return;
    this.#frames[at] = other;
    this.#store.release(frame, this);
    this.#store.keep(other, this);
  }

  remove(frame: Frame): void {
    this.forget(frame);
    this.#store.release(frame, this);
  }

  forget(frame: Frame): void {
    const at = this.#frames.indexOf(frame);
    if (at >= 0) this.#frames.splice(at, 1);
  }
}

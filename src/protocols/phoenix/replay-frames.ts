import type { KeptMessage } from "../../hub/history/history.ts";
import { Message } from "../../hub/message.ts";
import type { Ref } from "./phoenix-codec.ts";
import type { PhoenixEncoder } from "./phoenix-encoder.ts";

/** Characters of all cached frames and payloads, and ms after which they are dropped. */
const MAX_SIZE = 32 * 1024 * 1024;
const MAX_AGE = 5000;

interface CachedFrame {
  /** Keeps the payload as text. */
  readonly message: Message;
  joinRef: Ref;
  frame: string | Buffer;
}

/**
 * The frames of replayed messages. When thousands of clients reconnect at once, the members of one channel get the same
 * messages, mostly under the same join_ref: each frame is encoded once.
 */
export class ReplayFrames {
  readonly #cached = new Map<PhoenixEncoder, Map<number, CachedFrame>>();
  #size = 0;
  /** When the oldest was cached (`performance.now()`). */
  #since = 0;

  frameOf(encoder: PhoenixEncoder, kept: KeptMessage, memberRef: Ref): string | Buffer {
    // V1 has no join_ref.
    const joinRef = encoder.format.codec.version === 1 ? null : memberRef;
    const frames = this.#framesOf(encoder);
    const cached = frames.get(kept.seq);
    if (cached === undefined) {
      const message = new Message(kept.event, kept.payload, false, kept.seq);
      const frame = encoder.encodeKept(message, joinRef);
      frames.set(kept.seq, { message, joinRef, frame });
      if (this.#size === 0) this.#since = performance.now();
      this.#size += frame.length + kept.payload.length;
      return frame;
    }
    if (cached.joinRef !== joinRef) {
      cached.joinRef = joinRef;
      cached.frame = encoder.encodeKept(cached.message, joinRef);
    }
    return cached.frame;
  }

  /** To be called several times a second. */
  tick(now: number): void {
    if (this.#size > 0 && now - this.#since > MAX_AGE) this.#clear();
  }

  #clear(): void {
    this.#cached.clear();
    this.#size = 0;
  }

  #framesOf(encoder: PhoenixEncoder): Map<number, CachedFrame> {
    if (this.#size > MAX_SIZE) this.#clear();
    let frames = this.#cached.get(encoder);
    if (frames === undefined) {
      frames = new Map();
      this.#cached.set(encoder, frames);
    }
    return frames;
  }
}

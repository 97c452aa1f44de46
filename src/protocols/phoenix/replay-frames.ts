import type { KeptMessage } from "../../hub/history/history.ts";
import { Message } from "../../hub/message.ts";
import type { Ref } from "./phoenix-codec.ts";
import type { PhoenixEncoder } from "./phoenix-encoder.ts";

/** Characters of all cached frames. */
const MAX_SIZE = 16 * 1024 * 1024;

interface CachedFrame {
  /** Keeps the payload as text. */
  readonly message: Message;
  joinRef: Ref;
  frame: string | Buffer;
}

/**
 * The frames of replayed messages. When thousands of clients reconnect at once, the members of one channel get the same
 * messages, mostly under the same join_ref: each frame is encoded once. Emptied several times a second.
 */
export class ReplayFrames {
  readonly #cached = new Map<PhoenixEncoder, Map<number, CachedFrame>>();
  #size = 0;

  frameOf(encoder: PhoenixEncoder, kept: KeptMessage, memberRef: Ref): string | Buffer {
    // V1 has no join_ref.
    const joinRef = encoder.format.codec.version === 1 ? null : memberRef;
    const frames = this.#framesOf(encoder);
    const cached = frames.get(kept.seq);
    if (cached === undefined) {
      const message = new Message(kept.event, kept.payload, false, kept.seq);
      const frame = encoder.encodeKept(message, joinRef);
      frames.set(kept.seq, { message, joinRef, frame });
      this.#size += 2 * frame.length;
      return frame;
    }
    if (cached.joinRef !== joinRef) {
      cached.joinRef = joinRef;
      cached.frame = encoder.encodeKept(cached.message, joinRef);
    }
    return cached.frame;
  }

  clear(): void {
    if (this.#size === 0) return;
    this.#cached.clear();
    this.#size = 0;
  }

  #framesOf(encoder: PhoenixEncoder): Map<number, CachedFrame> {
    if (this.#size > MAX_SIZE) this.clear();
    let frames = this.#cached.get(encoder);
    if (frames === undefined) {
      frames = new Map();
      this.#cached.set(encoder, frames);
    }
    return frames;
  }
}

import type { Channel } from "../../hub/channel.ts";
import { Fanout, type FanoutContext } from "../../hub/fanout.ts";
import type { Positions } from "../../hub/history/positions.ts";
import type { Message } from "../../hub/message.ts";
import type { PhoenixEncoder } from "./phoenix-encoder.ts";

/** Minimum time between two `position` events, in ms. */
const POSITION_INTERVAL = 100;

/** The members of one channel and format that asked for recovery: their frames carry positions. */
export class PositionFanout extends Fanout<Message, PhoenixEncoder> {
  /** The number of the newest message, if it was a binary frame whose position was not sent since; 0 otherwise. */
  unreported = 0;
  readonly #positions: Positions;
  readonly #late: Set<PositionFanout>;
  #reportedAt = Number.NEGATIVE_INFINITY;

  /** @param late gets this fanout when `report` is to be called within `POSITION_INTERVAL` or somewhat later */
  constructor(
    topic: string,
    encoder: PhoenixEncoder,
    channel: Channel,
    fanouts: FanoutContext,
    positions: Positions,
    late: Set<PositionFanout>,
  ) {
    super(topic, encoder, channel, fanouts);
    this.#positions = positions;
    this.#late = late;
  }

  override deliver(message: Message): number {
    const deliveries = super.deliver(message);
    if (message.seq === 0 || deliveries === 0) return deliveries;
    if (message.isJson || !this.encoder.format.binary) {
      this.unreported = 0;
      return deliveries;
    }
    this.unreported = message.seq;
    const now = performance.now();
    if (now - this.#reportedAt >= POSITION_INTERVAL) this.report(now);
    else this.#late.add(this);
    return deliveries;
  }

  get newestPosition(): string | null {
    return this.#positions.current;
  }

  positionOf(seq: number): string | null {
    return this.#positions.at(seq);
  }

  /** Sends the position of the newest binary frame, if no later frame had one. */
  report(now: number): void {
    const position = this.unreported === 0 ? null : this.#positions.at(this.unreported);
    if (position === null) return;
    this.unreported = 0;
    this.#reportedAt = now;
    this.encoder.liveOnly = true;
    this.send(this.encoder.positionFrame(null, position));
  }

  /** Messages may be missing. Members that catch up get the event where the gap is. */
  resubscribed(): void {
    const position = this.#positions.current;
    if (position === null || this.empty) return;
    this.unreported = 0;
    this.encoder.liveOnly = true;
    this.send(this.encoder.gapFrame(null, position, "gap"));
  }
}

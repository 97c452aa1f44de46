import Redis from "ioredis";
import type { Ledger } from "./ledger.ts";

/** Messages that no client receives, by the reason that the server should count. */
const ODD: readonly (readonly [reason: string, name: string, payload: string])[] = [
  ["unheard", "to:nobody:message", "{}"],
  ["malformed", "to:nocolon", "{}"],
  ["empty", "to:room-0:message", ""],
  ["reserved", "to:room-0:phx_close", "{}"],
  ["invalid_name", `to:room-0:${"e".repeat(256)}`, "{}"],
];

/** The backends of the soak: one that publishes, one that subscribes. */
export class Backends {
  readonly #ledger: Ledger;
  readonly #rooms: readonly string[];
  readonly #speaker: Redis;
  readonly #listener: Redis;
  readonly #serials = new Map<string, number>();
  #turn = 0;

  constructor(port: number, rooms: readonly string[], ledger: Ledger) {
    this.#ledger = ledger;
    this.#rooms = rooms;
    const options = {
      host: "127.0.0.1",
      port,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => 100,
    };
    this.#speaker = new Redis(options);
    this.#listener = new Redis({ ...options, enableOfflineQueue: true, autoResubscribe: false });
    // Redis is stopped on purpose.
    for (const redis of [this.#speaker, this.#listener]) redis.on("error", () => {});
    this.#listener.on("pmessage", (_pattern: string, _name: string, payload: string) => {
      const mark = /"mark":"(m\d+)"/.exec(payload)?.[1];
      if (mark === undefined) return;
      if (ledger.backend.has(mark)) ledger.fault(`backends received push ${mark} twice`);
      ledger.backend.set(mark, performance.now());
    });
  }

  async start(): Promise<void> {
    const subscribe = () => this.#listener.psubscribe("from:room-*:said");
    // Also after a reconnect. That of ioredis would be an error that nobody handles, where the run ends before the reply.
    this.#listener.on("ready", () => void subscribe().catch(() => {}));
    await subscribe();
  }

  /** One message to the next room, of one of several sizes and kinds; now and then one that no client receives. */
  publish(): void {
    const room = this.#rooms[this.#turn++ % this.#rooms.length] ?? "";
    const serial = (this.#serials.get(room) ?? 0) + 1;
    this.#serials.set(room, serial);
    const message = this.#ledger.publish(room, serial);
    const binary = this.#turn % 17 === 0;
    const length = this.#turn % 101 === 0 ? 200_000 : this.#turn % 7 === 0 ? 8000 : 100;
    const filler = "x".repeat(length);
    const payload = binary ? `binary ${serial} ${filler}` : JSON.stringify({ room, n: serial, filler });
    this.#speaker.publish(`to:${room}:${binary ? "bytes" : "message"}`, payload).then(
      (receivers) => {
        message.receivers = receivers;
      },
      () => {},
    );
    if (this.#turn % 13 === 0) this.#publishOdd();
  }

  stop(): void {
    this.#speaker.disconnect();
    this.#listener.disconnect();
  }

  #publishOdd(): void {
    const [reason = "", name = "", payload = ""] = ODD[Math.floor(this.#turn / 13) % ODD.length] ?? [];
    this.#ledger.odd[reason] ??= { sent: 0, received: 0 };
    const odd = this.#ledger.odd[reason];
    odd.sent++;
    this.#speaker.publish(name, payload).then(
      (receivers) => {
        odd.received += receivers;
      },
      () => {},
    );
  }
}

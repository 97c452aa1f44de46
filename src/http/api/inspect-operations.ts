import * as z from "zod";
import type { Member } from "../../hub/channel.ts";
import { inspect, type TrafficObserver } from "../../hub/inspector.ts";
import { ChannelName, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { CHANNEL_NOT_ALLOWED, reaches } from "./scope-rejections.ts";

/** Minimum time between two events of a stream, in ms. */
const PAUSE = 250;

/** Maximum messages and payload bytes of one event. Further messages are skipped and counted. */
const MAX_MESSAGES = 50;
const MAX_BYTES = 256 * 1024;

/** Payload bytes of the pending events of all streams, shared equally; each stream gets at least `LEAST_BYTES`. */
const MAX_BYTES_OF_ALL = 8 * 1024 * 1024;
const LEAST_BYTES = 16 * 1024;

/** Maximum length of a payload shown: characters of JSON, or bytes. */
const MAX_JSON = 16 * 1024;
const MAX_BINARY = 4 * 1024;

const HEADERS = {
  "content-type": "text/event-stream;charset=utf-8",
  "cache-control": "no-store",
  // Disables buffering in nginx.
  "x-accel-buffering": "no",
};

/** Interval at which a stream checks that its session has not ended, in ms. */
const RECHECK = 5000;

const Seen = z.object({
  at: UnixMs,
  direction: z.enum(["to", "from"]).meta({ description: "`to` clients, or `from` a member." }),
  event: z.string(),
  agent: z.string().nullable().meta({ description: "The agent that pushed it; null for other senders." }),
  user: z.string().nullable().meta({ description: "The user of that agent; null for other senders." }),
  size: z.number().meta({ description: "Bytes of the whole payload." }),
  json: z.string().optional().meta({ description: "The payload as JSON text, cut to 16,384 characters." }),
  base64: z.string().optional().meta({ description: "A binary payload, cut to 4,096 bytes." }),
  cut: z.boolean().meta({ description: "Whether the payload was cut." }),
});

const Batch = z
  .object({
    messages: z.array(Seen),
    skipped: z.number().meta({ description: "Messages left out because the rate was too high." }),
  })
  .meta({ id: "Batch" });

type Seen = z.infer<typeof Seen>;

const EXAMPLE_BATCH: z.infer<typeof Batch> = {
  messages: [
    {
      at: 1_893_452_400_000,
      direction: "from",
      event: "say",
      agent: "x7Kq2mPd:room:7:1",
      user: "alice",
      size: 14,
      json: '{"text":"hello"}',
      cut: false,
    },
  ],
  skipped: 0,
};

/** Collects the messages of the next event and counts those left out. */
class Collector implements TrafficObserver {
  #messages: Seen[] = [];
  #bytes = 0;
  #skipped = 0;
  #maxBytes = 0;

  /** Accepts messages for the next event, up to `bytes`. Until the call all messages are skipped. */
  accept(bytes: number): void {
    this.#maxBytes = bytes;
  }

  sent(event: string, payload: string | Uint8Array, size: number): void {
    if (this.#full) this.#skipped++;
    else this.#add("to", event, null, payload, size);
  }

  pushed(sender: Member | null, event: string, payload: string | Uint8Array): void {
    if (this.#full) return void this.#skipped++;
    const size = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length;
    this.#add("from", event, sender, payload, size);
  }

  flush(): z.infer<typeof Batch> {
    const batch = { messages: this.#messages, skipped: this.#skipped };
    this.#messages = [];
    this.#bytes = 0;
    this.#skipped = 0;
    this.#maxBytes = 0;
    return batch;
  }

  get empty(): boolean {
    return this.#messages.length === 0 && this.#skipped === 0;
  }

  get #full(): boolean {
    return this.#messages.length >= MAX_MESSAGES || this.#bytes >= this.#maxBytes;
  }

  #add(
    direction: Seen["direction"],
    event: string,
    sender: Member | null,
    payload: string | Uint8Array,
    size: number,
  ): void {
    const { agent = null, user = null } = sender ?? {};
    const seen = { at: Date.now(), direction, event, agent, user, size };
    if (typeof payload === "string") {
      const json = payload.length > MAX_JSON ? payload.slice(0, MAX_JSON).toWellFormed() : payload;
      this.#messages.push({ ...seen, json, cut: json.length < payload.length });
      this.#bytes += json.length;
    } else {
      const bytes = payload.subarray(0, MAX_BINARY);
      this.#messages.push({ ...seen, base64: bytes.toBase64(), cut: bytes.length < payload.length });
      this.#bytes += bytes.length;
    }
  }
}

const encoder = new TextEncoder();

export function inspectOperations({ hub }: ApiDeps): Operation[] {
  let streams = 0;

  return [
    operation({
      method: "GET",
      path: "/api/channels/{name}/messages",
      tag: "Monitoring",
      summary: "Stream the messages of a channel",
      description: `Server-sent events with the channel's messages in both directions: at most one event per ${PAUSE} ms, at least one per second. At most ${(MAX_MESSAGES * 1000) / PAUSE} messages per second are sent; the others are counted. The channel need not be open.`,
      needs: "read",
      params: z.object({ name: ChannelName }),
      answer: Batch,
      exampleAnswer: EXAMPLE_BATCH,
      streams: true,
      errors: [CHANNEL_NOT_ALLOWED],
      run({ path: { name }, principal, request }) {
        if (!reaches(principal, name)) return CHANNEL_NOT_ALLOWED;
        // Bun does not read the body of a HEAD response: the stream would never end.
        if (request.method === "HEAD") return new Response(null, { headers: HEADERS });
        // Secrets and API keys are valid until the server stops; a session may end earlier.
        const { session } = principal;
        return stream(name, () => session === undefined || !session.ended);
      },
    }),
  ];

  function stream(name: string, mayRead: () => boolean): Response {
    const collector = new Collector();
    /** Whether the client has read the last event. Bounds the pending events of a stream to one. */
    let ready = false;
    let end = (): void => {};
    const body = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          const stop = inspect(hub, name, collector);
          streams++;
          let sentAt = 0;
          let checkedAt = performance.now();
          const timer = setInterval(() => {
            const now = performance.now();
            if (now - checkedAt >= RECHECK) {
              checkedAt = now;
              if (!mayRead()) {
                end();
                return controller.close();
              }
            }
            if (!ready || (collector.empty && now - sentAt < 1000)) return;
            ready = false;
            sentAt = now;
            controller.enqueue(encoder.encode(`data: ${JSON.stringify(collector.flush())}\n\n`));
          }, PAUSE);
          end = () => {
            clearInterval(timer);
            stop();
            streams--;
            end = () => {};
          };
          controller.enqueue(encoder.encode("retry: 2000\n\n"));
        },
        pull() {
          ready = true;
          collector.accept(Math.min(MAX_BYTES, Math.max(LEAST_BYTES, MAX_BYTES_OF_ALL / streams)));
        },
        cancel: () => end(),
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: HEADERS });
  }
}

import * as z from "zod";
import { inspect, type TrafficObserver } from "../../hub/inspector.ts";
import { ChannelName, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { outOfReach, reaches } from "./scope-rejections.ts";

/** Between two events of a stream, in ms. */
const PAUSE = 250;

/** What one event holds at the most; beyond, messages are left out and counted. */
const MAX_MESSAGES = 50;
const MAX_BYTES = 256 * 1024;

/** What the events of all streams together may hold, in bytes, as far as each has its least. */
const MAX_BYTES_OF_ALL = 8 * 1024 * 1024;
const LEAST_BYTES = 16 * 1024;

/** The beginning of a payload that is shown, in characters of JSON or bytes. */
const MAX_JSON = 16 * 1024;
const MAX_BINARY = 4 * 1024;

const HEADERS = {
  "content-type": "text/event-stream;charset=utf-8",
  "cache-control": "no-store",
  // nginx would collect it.
  "x-accel-buffering": "no",
};

/** Between two looks whether the reader may still read, in ms. */
const RECHECK = 5000;

const Seen = z.object({
  at: UnixMs,
  direction: z.enum(["to", "from"]).meta({ description: "`to` its listeners, or `from` a member." }),
  event: z.string(),
  agent: z.string().nullable().meta({ description: "Who pushed it." }),
  size: z.number().meta({ description: "Bytes of the whole payload." }),
  json: z.string().optional().meta({ description: "The payload's text, or its beginning." }),
  base64: z.string().optional().meta({ description: "The bytes of a binary payload, or the first of them." }),
  cut: z.boolean().meta({ description: "Whether this is the beginning only." }),
});

const Batch = z
  .object({
    messages: z.array(Seen),
    skipped: z.number().meta({ description: "Messages left out, since there were more than one can read." }),
  })
  .meta({ id: "Batch" });

type Seen = z.infer<typeof Seen>;

/** Collects what one reader is shown next, and counts what it is not. */
class Collector implements TrafficObserver {
  #messages: Seen[] = [];
  #bytes = 0;
  #skipped = 0;
  #room = 0;

  /** Begins an event of so many bytes; until then everything counts as left out. */
  begin(bytes: number): void {
    this.#room = bytes;
  }

  sent(event: string, payload: string | Uint8Array, size: number): void {
    if (this.#full) this.#skipped++;
    else this.#take("to", event, null, payload, size);
  }

  pushed(agent: string, event: string, payload: string | Uint8Array): void {
    if (this.#full) return void this.#skipped++;
    const size = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length;
    this.#take("from", event, agent === "" ? null : agent, payload, size);
  }

  take(): z.infer<typeof Batch> {
    const batch = { messages: this.#messages, skipped: this.#skipped };
    this.#messages = [];
    this.#bytes = 0;
    this.#skipped = 0;
    this.#room = 0;
    return batch;
  }

  get empty(): boolean {
    return this.#messages.length === 0 && this.#skipped === 0;
  }

  get #full(): boolean {
    return this.#messages.length >= MAX_MESSAGES || this.#bytes >= this.#room;
  }

  #take(
    direction: Seen["direction"],
    event: string,
    agent: string | null,
    payload: string | Uint8Array,
    size: number,
  ): void {
    const seen = { at: Date.now(), direction, event, agent, size };
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
      tag: "Watching",
      summary: "Read along in a channel",
      description: `Server-sent events, one every ${PAUSE} ms at the most and one a second at the least: the channel's messages in both directions. At most ${(MAX_MESSAGES * 1000) / PAUSE} a second are shown, and the others counted. The channel need not be open yet.`,
      needs: "read",
      params: z.object({ name: ChannelName }),
      answer: Batch,
      streams: true,
      run({ path: { name }, principal, request }) {
        if (!reaches(principal, name)) return outOfReach();
        // Bun leaves the body of an answer to HEAD unread: it would never end.
        if (request.method === "HEAD") return new Response(null, { headers: HEADERS });
        // Keys and secrets stay good for as long as the server runs; a session may end.
        const session = principal.kind === "administrator" ? principal.session : undefined;
        return stream(name, () => session === undefined || !session.ended);
      },
    }),
  ];

  function stream(name: string, mayRead: () => boolean): Response {
    const collector = new Collector();
    /** Whether its reader took all that was sent: only then more is collected for it, so that one event waits at most. */
    let wanted = false;
    let end = (): void => {};
    const body = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          const stop = inspect(hub, name, collector);
          streams++;
          let spokeAt = 0;
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
            if (!wanted || (collector.empty && now - spokeAt < 1000)) return;
            wanted = false;
            spokeAt = now;
            controller.enqueue(encoder.encode(`data: ${JSON.stringify(collector.take())}\n\n`));
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
          wanted = true;
          collector.begin(Math.min(MAX_BYTES, Math.max(LEAST_BYTES, MAX_BYTES_OF_ALL / streams)));
        },
        cancel: () => end(),
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: HEADERS });
  }
}

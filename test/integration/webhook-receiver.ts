import { createHmac } from "node:crypto";
import { Inbox, short } from "./inbox.ts";
import { freePort } from "./redis-process.ts";

export const HOOK_SECRET = "what signs the requests of these tests";

export interface HookEvent {
  readonly event: string;
  readonly channel: string;
  readonly user?: string;
  readonly at: number;
}

export interface HookRequest {
  readonly id: string;
  readonly at: number;
  readonly events: readonly HookEvent[];
}

/** An application that receives the events of a webhook. */
export interface WebhookReceiver {
  readonly url: string;
  /** Requests that were accepted. */
  readonly accepted: Inbox<HookRequest>;
  /** Requests that were refused, or whose signature is wrong. */
  readonly refused: Inbox<HookRequest>;
  /** The answer to requests from now on. */
  status: number;
  /** Ends it; connections are closed. */
  down(): Promise<void>;
  /** Starts it again on its port. */
  up(): void;
  /** The accepted events of a channel, without repetitions: `member_added alice`. */
  eventsOf(channel: string): string[];
}

export function startReceiver(): WebhookReceiver {
  const port = freePort();
  const show = (request: HookRequest): string => short(JSON.stringify(request));
  let server: Bun.Server<undefined> | null = null;
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${port}/hooks?app=test`,
    accepted: new Inbox<HookRequest>("accepted requests", show),
    refused: new Inbox<HookRequest>("refused requests", show),
    status: 204,
    async down() {
      await server?.stop(true);
      server = null;
    },
    up() {
      server = Bun.serve({
        port,
        hostname: "127.0.0.1",
        async fetch(request) {
          const body = await request.text();
          const sent: HookRequest = JSON.parse(body);
          const isSigned = isGood(request.headers.get("x-channel-signature") ?? "", body);
          const status = isSigned ? receiver.status : 400;
          (status === 204 ? receiver.accepted : receiver.refused).put(sent);
          return new Response(null, { status });
        },
      });
    },
    eventsOf(channel) {
      const requests = new Map(receiver.accepted.all.map((each) => [each.id, each] as const));
      return [...requests.values()].flatMap(({ events }) =>
        events
          .filter((each) => each.channel === channel)
          .map(({ event, user }) => (user === undefined ? event : `${event} ${user}`)),
      );
    },
  };
  receiver.up();
  return receiver;
}

function isGood(signature: string, body: string): boolean {
  const [, time = "", sign] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
  return sign === createHmac("sha256", HOOK_SECRET).update(`${time}.${body}`).digest("hex");
}

/** Settings of a server that sends to a receiver. */
export function webhookToml({ url }: WebhookReceiver): string {
  return `webhook = "${url}"\nhook_secret = "${HOOK_SECRET}"\n`;
}

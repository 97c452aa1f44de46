import * as z from "zod";
import { type HttpCode, Rejection } from "../../auth/rejection.ts";
import { awaitPosition } from "../../hub/history/await-position.ts";
import type { KeptMessage, Lost } from "../../hub/history/history.ts";
import type { Hub } from "../../hub/hub.ts";
import { isJson } from "../../hub/json/is-json.ts";
import { ChannelName, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { CHANNEL_NOT_ALLOWED, reaches } from "./scope-rejections.ts";

/** Payload bytes of one answer; one message may exceed it. */
const MAX_BYTES = 16 * 1024 * 1024;

const MAX_LIMIT = 1000;

const HistoryMessage = z
  .object({
    position: z.string().nullable().meta({ description: "Null if its position is no longer known." }),
    event: z.string(),
    payload: z.unknown().optional().meta({ description: "Exactly as published." }),
    base64: z.string().optional().meta({ description: "Instead of `payload`, a binary message." }),
    at: UnixMs,
  })
  .meta({ id: "HistoryMessage" });

const OFF = new Rejection(404, "history_off", "No history is configured for this channel.");

const NO_LAST_VALUES = new Rejection(404, "history_off", "No last values are configured for this channel.");

/** What cannot be resumed from. */
const LOST: Readonly<Record<Exclude<Lost, "history off">, Rejection>> = {
  "unknown position": lost("position_unknown", "unknown position: this server does not know it."),
  "too old": lost("history_too_old", "too old: messages after this position are no longer kept."),
  "too many": lost("history_too_many", "too many: more messages followed than are kept."),
  gap: lost("history_gap", "gap: this server was disconnected from the bus after this position."),
};

function lost(code: HttpCode, reason: string): Rejection {
  return new Rejection(410, code, reason);
}

const EXAMPLE_MESSAGES: z.infer<typeof HistoryMessage>[] = [
  { position: "mh1x2.k3-17", event: "news", payload: { n: 1 }, at: 1_893_452_400_000 },
  { position: "mh1x2.k3-24", event: "photo", base64: "AP8KDQ==", at: 1_893_452_430_000 },
];

export function historyOperations({ hub }: ApiDeps): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/channels/{name}/history",
      tag: "Monitoring",
      summary: "List the kept messages of a channel",
      description:
        "The first `limit` messages after the position `since`; without it, the newest. Also for a channel that is not open. An answer has at most 16 MiB of payloads, but at least one message.",
      needs: "read",
      params: z.object({ name: ChannelName }),
      query: z.object({
        since: z.string().max(255).optional().meta({ description: "A position: `mh1x2.k3-17`." }),
        limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(100),
      }),
      answer: z.object({
        position: z
          .string()
          .nullable()
          .meta({ description: "The newest position; null while the bus is disconnected." }),
        messages: z.array(HistoryMessage),
      }),
      exampleAnswer: { position: "mh1x2.k3-24", messages: EXAMPLE_MESSAGES },
      errors: [CHANNEL_NOT_ALLOWED, OFF, ...Object.values(LOST)],
      async run({ path: { name }, query: { since, limit }, principal }) {
        if (!reaches(principal, name)) return CHANNEL_NOT_ALLOWED;
        const rules = hub.historyRules(name);
        if (hub.history === null || rules === null || rules.count === 0) return OFF;
        await hub.history.prepare?.(name, rules, since ?? null);
        if (since === undefined) return answer(hub, hub.history.last(name, rules, limit), "newest");
        const seq = await awaitPosition(hub.positions, since);
        const messages = typeof seq === "number" ? hub.history.since(name, rules, seq, limit) : seq;
        if (typeof messages !== "string") return answer(hub, messages, "oldest");
        if (messages === "history off") return OFF;
        return LOST[messages];
      },
    }),
    operation({
      method: "GET",
      path: "/api/channels/{name}/last",
      tag: "Monitoring",
      summary: "Show the newest message of each event of a channel",
      description: "What a new member gets where `last_value` is on.",
      needs: "read",
      params: z.object({ name: ChannelName }),
      answer: z.object({ position: z.string().nullable(), messages: z.array(HistoryMessage) }),
      exampleAnswer: { position: "mh1x2.k3-24", messages: EXAMPLE_MESSAGES },
      errors: [CHANNEL_NOT_ALLOWED, NO_LAST_VALUES],
      run({ path: { name }, principal }) {
        if (!reaches(principal, name)) return CHANNEL_NOT_ALLOWED;
        if (hub.history === null || !hub.historyRules(name)?.lastValue) return NO_LAST_VALUES;
        return answer(hub, hub.history.lastValues(name), "newest");
      },
    }),
  ];
}

/** @param from the end of the list that is shown if it is larger than an answer may be */
function answer(hub: Hub, messages: readonly KeptMessage[], from: "oldest" | "newest"): Response {
  const ordered = from === "oldest" ? messages : messages.toReversed();
  const texts: string[] = [];
  let bytes = 0;
  for (const message of ordered) {
    bytes += message.payload.length;
    if (bytes > MAX_BYTES && texts.length > 0) break;
    texts.push(messageText(hub, message));
  }
  if (from === "newest") texts.reverse();
  const position = JSON.stringify(hub.positions.current);
  return new Response(`{"position":${position},"messages":[${texts.join(",")}]}`, {
    headers: { "content-type": "application/json;charset=utf-8", "cache-control": "no-store" },
  });
}

/** A message as JSON text, its payload unchanged. */
function messageText({ positions }: Hub, { seq, event, payload, at }: KeptMessage): string {
  const head = `{"position":${JSON.stringify(positions.at(seq))},"event":${JSON.stringify(event)}`;
  const body = isJson(payload) ? `"payload":${payload.toString("utf8")}` : `"base64":"${payload.toBase64()}"`;
  return `${head},${body},"at":${at}}`;
}

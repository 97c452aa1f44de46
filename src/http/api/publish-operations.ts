import * as z from "zod";
import { Rejection } from "../../auth/rejection.ts";
import { isExport, printTo, RESERVED_EVENTS } from "../../bus/topics.ts";
import { JsonText } from "../../hub/json/members.ts";
import { ChannelName, EventName } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { channelNotAllowed, reaches } from "./scope-rejections.ts";

/** Bytes of a body besides the payload: names of 255 bytes, up to six bytes each when escaped. */
const AROUND_PAYLOAD = 64 * 1024;

export function publishOperations({ config, bus, hub }: ApiDeps): Operation[] {
  /** Resolves with whether the bus accepted the message. */
  const publish = (name: string, payload: string | Uint8Array): Promise<boolean> =>
    new Promise((resolve) => bus.publish(name, payload, { settled: resolve }));

  return [
    operation({
      method: "POST",
      path: "/api/publish",
      tag: "Actions",
      summary: "Publish a message",
      description:
        "Publishes to the bus like a backend: the clients of all servers receive it. `payload` is any JSON, sent unchanged; `base64` instead is a binary payload.",
      needs: "publish",
      act: "publish",
      verbatim: "payload",
      maxBody: config.limits.maxPayload + AROUND_PAYLOAD,
      body: z
        .object({
          channel: ChannelName,
          event: EventName,
          payload: z.unknown().optional(),
          base64: z.base64().optional(),
        })
        .refine((body) => (body.payload === undefined) !== (body.base64 === undefined), {
          message: "must contain either payload or base64",
        }),
      example: { channel: "system", event: "update", payload: { hello: "from the API" } },
      answer: z.object({
        listeners: z
          .number()
          .meta({ description: "Memberships and subscriptions of the channel on this server." }),
        position: z.string().nullable().optional().meta({
          description:
            "Where the channel has history: the position of the message; null if this server did not receive it within 1 s.",
        }),
      }),
      errors: {
        413: "More than `max_payload`",
        503: "The bus is disconnected; the message was not published",
      },
      what: ({ body: { channel, event } }) => ({ channel, event }),
      async run({ body: { channel, event, payload, base64 }, principal }) {
        if (!reaches(principal, channel)) return channelNotAllowed();
        if (RESERVED_EVENTS.has(event) || isExport({ channel, event })) {
          return new Rejection(422, "event_reserved", "event: this name is reserved by the protocol.");
        }
        const bytes = payload instanceof JsonText ? payload.text : Buffer.from(base64 ?? "", "base64");
        const size = typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.length;
        if (size === 0)
          return new Rejection(422, "payload_empty", "base64: an empty message is not delivered.");
        if (size > config.limits.maxPayload) {
          return new Rejection(
            413,
            "payload_too_large",
            `The payload exceeds ${config.limits.maxPayload} bytes (limits.max_payload).`,
          );
        }
        const name = printTo(channel, event);
        const keeps = (hub.historyRules(channel)?.count ?? 0) > 0;
        const numbered = keeps ? hub.publications.expect(name, bytes) : null;
        const accepted = await publish(name, bytes);
        if (!accepted)
          return new Rejection(503, "bus_away", "The bus is disconnected: the message was not published.");
        let listeners = 0;
        for (const receiver of hub.channels.get(channel)?.receivers ?? []) listeners += receiver.listeners;
        if (numbered === null) return { listeners };
        const seq = await numbered;
        return { listeners, position: seq === null ? null : hub.positions.at(seq) };
      },
    }),
  ];
}

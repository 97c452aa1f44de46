import { createHash } from "node:crypto";
import * as z from "zod";
import { userChannel } from "../../auth/claims.ts";
import type { Principal } from "../../auth/principal.ts";
import { Rejection } from "../../auth/rejection.ts";
import { isChannelName, isExport, RESERVED_EVENTS } from "../../bus/topics.ts";
import type { Publication, PublishedPositions, Recipients } from "../../fleet/publishing.ts";
import { RawJson } from "../../hub/json/split-member.ts";
import { ChannelName, EventName, UserId } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import { type Operation, operation } from "./operation.ts";
import { CHANNEL_NOT_ALLOWED, reaches } from "./scope-rejections.ts";

/** Bytes of a body besides the payload: names of 255 bytes, up to six bytes each when escaped. */
const AROUND_PAYLOAD = 256 * 1024;

/** Channels of one request. */
const MAX_CHANNELS = 100;

/** Limit of the payload times the number of channels, as a multiple of `max_payload`: Redis sends each to all servers. */
const MAX_COPIES = 4;

/** Bytes, in the example of an error: the description shows no setting. */
const EXAMPLE_MAX = 4 * 1024 * 1024;

/** Characters of an `id`. */
const MAX_ID = 128;

/** Connections that one request may leave out, and characters of the id of one. */
const MAX_EXCEPT = 100;
const MAX_CONNECTION = 64;

const ConnectionId = z
  .string()
  .regex(/^[\w-]+$/, "must be the id of a connection")
  .max(MAX_CONNECTION);

const Position = z.string().nullable();

const Body = z
  .object({
    channel: ChannelName.optional(),
    channels: z
      .array(ChannelName)
      .min(1)
      .max(MAX_CHANNELS)
      .optional()
      .meta({ description: `Several channels, up to ${MAX_CHANNELS}.` }),
    user: UserId.refine((id) => id !== "", "must not be empty")
      .optional()
      .meta({ description: "The channel `user:<id>` of this user." }),
    connection: ConnectionId.optional().meta({
      description: "With `channel`: the only connection that receives it. It must be in the channel.",
    }),
    except: z
      .array(ConnectionId)
      .max(MAX_EXCEPT)
      .optional()
      .meta({
        description: `With \`channel\`: connections that do not receive it, up to ${MAX_EXCEPT}. Unknown ones are ignored.`,
      }),
    event: EventName,
    payload: z.unknown().optional().meta({ description: "Any JSON." }),
    base64: z.base64().optional().meta({ description: "A binary payload instead." }),
    id: z
      .string()
      .min(1)
      .max(MAX_ID)
      .refine((text) => text.isWellFormed(), "must be well-formed text")
      .optional()
      .meta({
        description: "A request with the same one, and the same key, is published once in 5 minutes.",
      }),
  })
  .refine((body) => (body.payload === undefined) !== (body.base64 === undefined), {
    message: "must contain either payload or base64",
  })
  .refine(({ channel, channels, user }) => [channel, channels, user].filter(isGiven).length === 1, {
    path: ["channel"],
    message: "one of channel, channels and user is required",
  })
  .refine(
    ({ channel, connection, except }) => isGiven(channel) || !(isGiven(connection) || isGiven(except)),
    {
      path: ["channel"],
      message: "is required with connection or except",
    },
  )
  .refine(({ connection, except }) => !(isGiven(connection) && isGiven(except)), {
    path: ["connection"],
    message: "must not be given together with except",
  });

type Body = z.output<typeof Body>;

const Answer = z.object({
  listeners: z
    .number()
    .meta({ description: "Memberships and subscriptions of the channels on this server." }),
  position: Position.optional().meta({
    description:
      "Where the channel has history: the position of the message; null if this server did not receive it within 2 s. In a cluster it may be that of an earlier message.",
  }),
  positions: z.record(z.string(), Position).optional().meta({
    description: "With `channels`: the position of the message in each of them that has history.",
  }),
  repeated: z.boolean().optional().meta({
    description: "With `id`: whether the message was published by an earlier request, and not again.",
  }),
});

export function publishOperations({ config, control, publishing, hub }: ApiDeps): Operation[] {
  const { maxPayload } = config.limits;

  const listenersOf = (channels: readonly string[]): number => {
    let listeners = 0;
    for (const channel of channels) {
      for (const receiver of hub.channels.get(channel)?.receivers ?? []) listeners += receiver.listeners;
    }
    return listeners;
  };

  const isIn = (connection: string, channel: string): boolean =>
    (hub.connections.get(connection)?.listening(channel) ?? null) !== null;

  /** @param channels of the publication */
  const countListeners = ({ connection, except = [] }: Body, channels: readonly string[]): number => {
    if (connection !== undefined) return 1;
    const excluded = [...new Set(except)].filter((id) => isIn(id, channels[0] ?? ""));
    return listenersOf(channels) - excluded.length;
  };

  return [
    operation({
      method: "POST",
      path: "/api/publish",
      tag: "Actions",
      summary: "Publish a message",
      description:
        "Publishes to the bus like a backend: the clients of all servers receive it. To one channel, to several (all or none), or to a user: every connection of the user that has joined `user:<id>`. With `channel`, `connection` or `except` select members: such a message is not on `to:`, so backends do not get it; it is not kept, and has no position. `payload` is any JSON, sent unchanged: it is not parsed and printed. An API key must cover every channel. A payload has at most `limits.max_payload` bytes; with several channels, all copies have at most four times that.",
      needs: "publish",
      act: "publish",
      verbatim: "payload",
      // Four characters of base64 are three bytes.
      maxBody: Math.ceil((maxPayload * 4) / 3) + AROUND_PAYLOAD,
      body: Body,
      example: { channel: "system", event: "update", payload: { hello: "from the API" } },
      answer: Answer,
      exampleAnswer: { listeners: 12, position: "mh1x2.k3-17" },
      errors: [
        CHANNEL_NOT_ALLOWED,
        CONNECTION_NOT_IN_CHANNEL,
        tooLarge(EXAMPLE_MAX),
        EVENT_RESERVED,
        PAYLOAD_EMPTY,
        TOO_MANY_IDS,
        BUS_AWAY,
        UNKNOWN_ID,
        SERVER_SILENT,
      ],
      what: ({ body: { channel, channels, user, connection, except, event } }) => ({
        ...(isGiven(channel) ? { channel } : {}),
        ...(isGiven(channels) ? { channels: channels.join(" ") } : {}),
        ...(isGiven(user) ? { user } : {}),
        ...(isGiven(connection) ? { connection } : {}),
        ...(isGiven(except) ? { except: except.length } : {}),
        event,
      }),
      async run({ body, principal }) {
        const publication = publicationOf(body, principal, maxPayload);
        if (publication instanceof Rejection) return publication;
        const { channels, to } = publication;
        if (to !== null && "connection" in to) {
          const found = await control.isListening(to.connection, channels[0] ?? "");
          // The connection may have ended since the message was published.
          if (found !== true && (await publishing.isRepeated(publication.id)))
            return { listeners: 0, repeated: true };
          if (found !== true) return found === null ? SERVER_SILENT : CONNECTION_NOT_IN_CHANNEL;
        }
        const result = await publishing.publish(publication);
        if (result.kind === "away") return BUS_AWAY;
        if (result.kind === "unknown_id") return UNKNOWN_ID;
        if (result.kind === "too_many_ids") return TOO_MANY_IDS;
        return {
          listeners: countListeners(body, channels),
          ...printPositions(body, result.positions),
          ...(publication.id === null ? {} : { repeated: result.kind === "repeated" }),
        };
      },
    }),
  ];
}

const EVENT_RESERVED = new Rejection(422, "event_reserved", "event: this name is reserved by the protocol.");

const PAYLOAD_EMPTY = new Rejection(422, "payload_empty", "base64: an empty message is not delivered.");

function tooLarge(maxPayload: number): Rejection {
  const reason = `The payload exceeds ${maxPayload} bytes (limits.max_payload).`;
  return new Rejection(413, "payload_too_large", reason);
}

const BUS_AWAY = new Rejection(503, "bus_away", "The bus is disconnected: the message was not published.");

const UNKNOWN_ID = new Rejection(
  503,
  "id_unknown",
  "Redis did not answer whether a message with this id was published: repeat the request with the same id.",
);

const CONNECTION_NOT_IN_CHANNEL = new Rejection(
  404,
  "connection_not_in_channel",
  "No open connection of this id is in the channel.",
);

const SERVER_SILENT = new Rejection(
  503,
  "server_silent",
  "The server of this connection did not answer within a second: the message was not published.",
);

const TOO_MANY_IDS = new Rejection(
  429,
  "too_many_ids",
  "Too many messages with an id within 5 minutes on this server: publish without one, or later.",
  60,
);

function isGiven<T>(value: T | undefined): value is T {
  return value !== undefined;
}

/** What a request publishes, or why it must not. */
function publicationOf(body: Body, principal: Principal, maxPayload: number): Publication | Rejection {
  const { event, id } = body;
  const channels = channelsOf(body);
  if (!channels.every(isChannelName)) {
    return new Rejection(422, "invalid_request", "user: user:<id> must be a channel name, up to 255 bytes.");
  }
  if (!channels.every((channel) => reaches(principal, channel))) return CHANNEL_NOT_ALLOWED;
  if (RESERVED_EVENTS.has(event) || channels.some((channel) => isExport({ channel, event }))) {
    return EVENT_RESERVED;
  }
  const payload =
    body.payload instanceof RawJson ? body.payload.bytes : Buffer.from(body.base64 ?? "", "base64");
  if (payload.length === 0) return PAYLOAD_EMPTY;
  if (payload.length > maxPayload) return tooLarge(maxPayload);
  if (payload.length * channels.length > maxPayload * MAX_COPIES) {
    const reason = `The payload, once for each channel, exceeds ${MAX_COPIES} times ${maxPayload} bytes (limits.max_payload).`;
    return new Rejection(413, "payload_too_large", reason);
  }
  return {
    channels,
    event,
    payload,
    to: recipientsOf(body),
    id: id === undefined ? null : keyOf(principal, id),
  };
}

function recipientsOf({ connection, except }: Body): Recipients | null {
  if (connection !== undefined) return { connection };
  return except === undefined ? null : { except };
}

function channelsOf({ channel, channels, user }: Body): readonly string[] {
  if (user !== undefined) return [userChannel(user)];
  return channels === undefined ? [channel ?? ""] : [...new Set(channels)];
}

/** What identifies an `id` among those of all keys. Not the id itself: it may be long, and name anything. */
function keyOf(principal: Principal, id: string): string {
  const who = principal.kind === "key" ? `key:${principal.key.name}` : "administrator";
  return createHash("sha256").update(`${who}\0${id}`).digest("base64url");
}

function printPositions(
  { channels }: Body,
  positions: PublishedPositions,
): { position?: string | null; positions?: Record<string, string | null> } {
  if (channels !== undefined) return { positions: Object.fromEntries(positions) };
  const [position] = positions.values();
  return position === undefined ? {} : { position };
}

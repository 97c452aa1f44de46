import * as z from "zod";
import { NOT_SIGNED_IN, tooManyAttempts, WRONG_SECRET } from "../../auth/admin.ts";
import { ABILITIES } from "../../auth/claims.ts";
import { Rejection } from "../../auth/rejection.ts";
import { ChannelName, UserId } from "./api-schemas.ts";
import { errorResponses } from "./error-responses.ts";
import { BODY_ERRORS, CREDENTIAL_ERRORS, INVALID_REQUEST } from "./general-errors.ts";
import { schemaOf } from "./json-schema.ts";
import { ALL_CHANNELS_NEEDED, abilityMissing } from "./scope-rejections.ts";

const Can = z.array(z.enum(ABILITIES));
export const TokenBody = z.object({
  channel: ChannelName.optional(),
  channels: z.union([z.array(ChannelName), z.record(ChannelName, Can)]).optional(),
  can: Can.optional(),
  id: UserId.optional(),
});
export const TokenAnswer = z.object({
  id: z.string(),
  channel: z.string().optional(),
  channels: z.union([z.array(z.string()), z.record(z.string(), Can)]).optional(),
  can: Can.optional(),
  token: z.string(),
});
const Health = z.object({
  status: z.string(),
  bus: z.enum(["redis", "amqp", "embedded"]),
  note: z.string().optional(),
});

const Ready = z.object({
  status: z.string(),
  bus: z.enum(["redis", "amqp", "embedded"]),
  gaps: z.number().meta({ description: "Subscriptions to the bus lost since start." }),
  where: z.string().optional().meta({ description: "The server of the bus in use." }),
});

/** Values in the sentences of errors. */
const EXAMPLE = {
  origin: "https://example.org",
  why: " (wrong_issuer)",
  channels: 100,
  detail: "connecting to 10.0.0.5:6379",
} as const;

/** What `POST /token` rejects a request with. */
export const TOKEN_ERRORS: readonly Rejection[] = [
  ...BODY_ERRORS,
  NOT_SIGNED_IN,
  WRONG_SECRET,
  tooManyAttempts(2),
  new Rejection(403, "token_endpoint_off", "This server issues no tokens for channels (token_endpoint)."),
  new Rejection(403, "token_channel_not_given", "Tokens for this channel are not public (token_channels)."),
  new Rejection(
    403,
    "token_id_not_proven",
    "A chosen id requires an earlier token for that id as Bearer (token_ids).",
  ),
  new Rejection(403, "token_for_phoenix", "The topic phoenix needs no token: it accepts heartbeats only."),
  new Rejection(403, "origin_not_allowed", `Origin ${EXAMPLE.origin} is not allowed (allowed_origins).`),
  INVALID_REQUEST,
  new Rejection(422, "token_too_long", "Too many channels for one token."),
];

/** What `/sse` rejects a request with. */
const SSE_ERRORS: readonly Rejection[] = [
  new Rejection(401, "token_missing", 'A token is required for the channel "room:7".'),
  new Rejection(401, "token_expired", "The token has expired."),
  new Rejection(401, "token_refused", `The token is not accepted${EXAMPLE.why}.`),
  new Rejection(403, "channel_not_covered", 'The token does not cover the channel "room:7".'),
  new Rejection(403, "join_not_allowed", 'The token does not allow joining the channel "room:7".'),
  new Rejection(403, "authorization_denied", 'The application does not allow the channel "room:7".'),
  new Rejection(403, "origin_not_allowed", `Origin ${EXAMPLE.origin} is not allowed (allowed_origins).`),
  new Rejection(422, "invalid_request", "channel is required: ?channel=<name>."),
  new Rejection(
    422,
    "too_many_channels_asked",
    `More than ${EXAMPLE.channels} channels (limits.max_channels).`,
  ),
];

const SHUTTING_DOWN = new Rejection(503, "shutting_down", "The server is shutting down.");
const BUS_AWAY = new Rejection(503, "bus_away", `The bus is disconnected: ${EXAMPLE.detail}.`);

const SSE_EXAMPLE = `event: ready
data: {"id":"x7Kq2mPd","channels":["room:7"]}

id: hokz0ap32w.4f2c-18
data: {"channel":"room:7","event":"news","payload":{"n":1}}

`;

const METRICS_EXAMPLE = `# HELP channel_connections Open connections.
# TYPE channel_connections gauge
channel_connections{protocol="phoenix"} 1200
`;

/** OpenAPI descriptions of the routes outside `/api`. Their own handlers validate the input. */
export function outerPaths(): Record<string, object> {
  const answer = <A extends z.ZodType>(description: string, schema: A, example: z.output<A>) => ({
    description,
    content: { "application/json": { schema: schemaOf(schema, "output"), example } },
  });
  return {
    "/token": {
      post: {
        operationId: "postToken",
        tags: ["Tokens"],
        summary: "Get a token as a client",
        description:
          "Who gets a token depends on `token_endpoint`, `token_channels` and `token_ids`. An earlier token as Bearer proves the id and grants its channels; the new token has at most its abilities and lifetime. An object under `channels` sets the abilities of each channel; `can` sets them for a list.",
        security: [],
        requestBody: {
          required: true,
          content: {
            "application/json": {
              schema: schemaOf(TokenBody, "input"),
              example: { channel: "system", id: "client1" },
            },
          },
        },
        responses: {
          200: answer("A token", TokenAnswer, {
            id: "client1",
            channel: "system",
            token: "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImNsaWVudDEifQ.c2lnbmF0dXJl",
          }),
          ...errorResponses(TOKEN_ERRORS),
        },
      },
    },
    "/sse": {
      get: {
        operationId: "getSse",
        tags: ["Listening"],
        summary: "Listen to channels by server-sent events",
        description:
          "An endless response. Each message is a block whose data is an object with `channel`, `event` and `payload` (or `base64`); `ready`, `gap`, `skipped` and `closed` are events of the stream itself. A refusal that passes is a 200 with `closed`.",
        security: [],
        parameters: [
          {
            name: "channel",
            in: "query",
            required: true,
            description: "Once for each channel.",
            schema: { type: "array", items: { type: "string" } },
            example: ["room:7"],
            style: "form",
            explode: true,
          },
          {
            name: "token",
            in: "query",
            description: "A token, for clients that send no header.",
            schema: { type: "string" },
          },
        ],
        responses: {
          200: {
            description: "The stream",
            content: { "text/event-stream": { schema: { type: "string" }, example: SSE_EXAMPLE } },
          },
          ...errorResponses(SSE_ERRORS),
        },
      },
    },
    "/health": {
      get: {
        operationId: "getHealth",
        tags: ["Server"],
        summary: "Liveness check",
        security: [],
        responses: { 200: answer("The server is up", Health, { status: "up", bus: "redis" }) },
      },
    },
    "/ready": {
      get: {
        operationId: "getReady",
        tags: ["Server"],
        summary: "Readiness check: whether the bus is connected",
        security: [],
        responses: {
          200: answer("Ready", Ready, { status: "ready", bus: "redis", gaps: 0, where: "10.0.0.5:6379" }),
          ...errorResponses([SHUTTING_DOWN, BUS_AWAY]),
        },
      },
    },
    "/metrics": {
      get: {
        operationId: "getMetrics",
        tags: ["Server"],
        summary: "Metrics for Prometheus",
        description:
          "Requires the administrator or an API key with the ability `read`, except from loopback.",
        responses: {
          200: {
            description: "Prometheus' text format",
            content: { "text/plain": { schema: { type: "string" }, example: METRICS_EXAMPLE } },
          },
          ...errorResponses([...CREDENTIAL_ERRORS, abilityMissing("read"), ALL_CHANNELS_NEEDED]),
        },
      },
    },
  };
}

import * as z from "zod";
import { ABILITIES } from "../../auth/claims.ts";
import { HTTP_CODES } from "../../auth/rejection.ts";
import { ChannelName, UserId } from "./api-schemas.ts";

const Can = z.array(z.enum(ABILITIES));
const TokenBody = z.object({
  channel: ChannelName.optional(),
  channels: z.union([z.array(ChannelName), z.record(ChannelName, Can)]).optional(),
  can: Can.optional(),
  id: UserId.optional(),
});
const TokenAnswer = z.object({
  id: z.string(),
  channel: z.string().optional(),
  channels: z.union([z.array(z.string()), z.record(z.string(), Can)]).optional(),
  can: Can.optional(),
  token: z.string(),
});
const Health = z.object({
  status: z.string(),
  bus: z.enum(["redis", "embedded"]),
  note: z.string().optional(),
});

/** OpenAPI descriptions of the routes outside `/api`. Their own handlers validate the input. */
export function outerPaths(
  schemaOf: (schema: z.ZodType, io: "input" | "output") => object,
): Record<string, object> {
  const answer = (description: string, schema: z.ZodType) => ({
    description,
    content: { "application/json": { schema: schemaOf(schema, "output") } },
  });
  const ErrorBody = z.object({ error: z.string(), code: z.enum(HTTP_CODES) });
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
          200: answer("A token", TokenAnswer),
          400: answer("The body is not JSON", ErrorBody),
          401: answer("Administrator required", ErrorBody),
          403: answer("This token is not public", ErrorBody),
          422: answer("Invalid request", ErrorBody),
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
            content: { "text/event-stream": { schema: { type: "string" } } },
          },
          401: answer("A token is missing or not accepted", ErrorBody),
          403: answer("The token does not cover a channel, or the page's origin is not allowed", ErrorBody),
          422: answer("No channel, too many, or an invalid name", ErrorBody),
        },
      },
    },
    "/health": {
      get: {
        operationId: "getHealth",
        tags: ["Server"],
        summary: "Liveness check",
        security: [],
        responses: { 200: answer("The server is up", Health) },
      },
    },
    "/ready": {
      get: {
        operationId: "getReady",
        tags: ["Server"],
        summary: "Readiness check: whether the bus is connected",
        security: [],
        responses: {
          200: answer("Ready", z.object({ status: z.string(), bus: z.string() })),
          503: answer("Not ready, with the cause", ErrorBody),
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
        responses: { 200: { description: "Prometheus' text format", content: { "text/plain": {} } } },
      },
    },
  };
}

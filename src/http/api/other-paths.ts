import * as z from "zod";
import { ABILITIES } from "../../auth/claims.ts";
import { HTTP_CODES } from "../../auth/rejection.ts";
import { ChannelName, UserId } from "./api-schemas.ts";

const Can = z.array(z.enum(ABILITIES));
const TokenAsked = z.object({
  channel: ChannelName.optional(),
  channels: z.union([z.array(ChannelName), z.record(ChannelName, Can)]).optional(),
  can: Can.optional(),
  id: UserId.optional(),
});
const TokenGiven = z.object({
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

/** What is called over HTTP and stands outside of `/api`: described here, checked by its own handlers. */
export function outerPaths(
  schemaOf: (schema: z.ZodType, io: "input" | "output") => object,
): Record<string, object> {
  const answer = (description: string, schema: z.ZodType) => ({
    description,
    content: { "application/json": { schema: schemaOf(schema, "output") } },
  });
  const Refusal = z.object({ error: z.string(), code: z.enum(HTTP_CODES) });
  return {
    "/token": {
      post: {
        operationId: "postToken",
        tags: ["Tokens"],
        summary: "Ask for a token, as a client does",
        description:
          "For whoever may have it: `token_endpoint`, `token_channels`, `token_ids`. An earlier token as Bearer proves the id and gives its channels; the new one allows no more than it, and is good no longer. An object under `channels` says for each what the holder may do; `can` does for a list.",
        security: [],
        requestBody: {
          required: true,
          content: {
            "application/json": {
              schema: schemaOf(TokenAsked, "input"),
              example: { channel: "system", id: "client1" },
            },
          },
        },
        responses: {
          200: answer("A token", TokenGiven),
          400: answer("The body is not JSON", Refusal),
          401: answer("This one needs the administrator", Refusal),
          403: answer("Not for everyone", Refusal),
          422: answer("Not as described", Refusal),
        },
      },
    },
    "/health": {
      get: {
        operationId: "getHealth",
        tags: ["Server"],
        summary: "Whether it is up",
        security: [],
        responses: { 200: answer("It is", Health) },
      },
    },
    "/ready": {
      get: {
        operationId: "getReady",
        tags: ["Server"],
        summary: "Whether its bus is live",
        security: [],
        responses: {
          200: answer("It is", z.object({ status: z.string(), bus: z.string() })),
          503: answer("It is not, and why", Refusal),
        },
      },
    },
    "/metrics": {
      get: {
        operationId: "getMetrics",
        tags: ["Server"],
        summary: "Everything that is counted, for Prometheus",
        description:
          "Needs the administrator, or an API key that can `read`, unless asked from the same machine.",
        responses: { 200: { description: "Prometheus' text format", content: { "text/plain": {} } } },
      },
    },
  };
}

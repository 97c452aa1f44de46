import type * as z from "zod";
import { VERSION } from "../../version.ts";
import { errorResponses } from "./error-responses.ts";
import { generalErrors } from "./general-errors.ts";
import { schemaOf } from "./json-schema.ts";
import type { Operation } from "./operation.ts";
import { outerPaths } from "./other-paths.ts";

const NEEDS = {
  admin: "Requires the administrator.",
  publish: "Requires the administrator, or an API key with the ability `publish`.",
  moderate: "Requires the administrator, or an API key with the ability `moderate`.",
  read: "Requires the administrator, or an API key with the ability `read`.",
} as const;

/** The OpenAPI 3.1 document of the HTTP API. `more` are the paths of protocols. */
export function describeApi(
  operations: readonly Operation[],
  more: Readonly<Record<string, object>>,
  basePath: string,
): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    paths[operation.path] ??= {};
    const path = paths[operation.path];
    if (path !== undefined) path[operation.method.toLowerCase()] = describe(operation);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Channel",
      version: VERSION,
      description:
        'Everything that the admin page does. Send the admin secret or an API key as Bearer; the pages send a session cookie instead. Every error is `{"error": "<sentence>", "code": "<code>"}`; codes never change, and the sentences here are examples. Any request may also get `bad_path` or `bad_host` (400), `host_not_allowed` (403), `not_found` (404), `method_not_allowed` (405), `too_many_connects` (429), `internal_error` (500) or `shutting_down` (503). After ten wrong secrets within a minute, only one attempt every 2 seconds is checked for the rest of the minute. `/channel.d.ts` has the types for TypeScript.',
    },
    servers: [{ url: basePath === "" ? "/" : basePath }],
    tags: ["Monitoring", "Actions", "Tokens", "Listening", "Server", "Channelstream"].map((name) => ({
      name,
    })),
    security: [{ bearer: [] }, { session: [] }],
    paths: { ...paths, ...outerPaths(), ...more },
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "The admin secret, or an API key." },
        session: { type: "apiKey", in: "cookie", name: "channel_session" },
        signature: {
          type: "apiKey",
          in: "header",
          name: "x-channelstream-secret",
          description: "Channelstream's signature; the explorer creates it for a signed-in administrator.",
        },
      },
    },
  };
}

function describe(operation: Operation): object {
  const { method, path, tag, summary, description, needs, params, query, body, example, answer, streams } =
    operation;
  return {
    operationId: `${method.toLowerCase()}${path.replace(/[^a-zA-Z]+(\w|$)/g, (_, letter: string) => letter.toUpperCase())}`,
    tags: [tag],
    summary,
    description: [description, NEEDS[needs]].filter(Boolean).join("\n\n"),
    parameters: [...parameters(params, "path"), ...parameters(query, "query")],
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: {
              "application/json": {
                schema: schemaOf(body, "input"),
                ...(example === undefined ? {} : { example }),
              },
            },
          },
        }),
    responses: {
      200: {
        description: streams ? "A stream of events with this data" : "Success",
        content: {
          [streams ? "text/event-stream" : "application/json"]: {
            schema: schemaOf(answer, "output"),
            example: operation.exampleAnswer,
          },
        },
      },
      ...errorResponses([...generalErrors(operation), ...operation.errors]),
    },
  };
}

function parameters(schema: z.ZodObject | undefined, where: "path" | "query"): object[] {
  if (schema === undefined) return [];
  return Object.entries(schema.shape).map(([name, field]) => {
    const { description, ...described } = { description: undefined, ...schemaOf(field, "input") };
    return {
      name,
      in: where,
      required: where === "path",
      schema: described,
      ...(description === undefined ? {} : { description }),
    };
  });
}

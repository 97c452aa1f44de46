import * as z from "zod";
import { isObject, type JsonObject } from "../../auth/json-object.ts";
import { HTTP_CODES } from "../../auth/rejection.ts";
import { VERSION } from "../../version.ts";
import type { Operation } from "./operation.ts";
import { outerPaths } from "./other-paths.ts";

const DIALECT = { target: "draft-2020-12", unrepresentable: "any" } as const;

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
        'Everything that the admin page does. Send the admin secret or an API key as Bearer; the pages send a session cookie instead. Every error is `{"error": "<sentence>", "code": "<code>"}`; codes never change. After ten wrong secrets within a minute, only one attempt every 2 seconds is checked for the rest of the minute.',
    },
    servers: [{ url: basePath === "" ? "/" : basePath }],
    tags: ["Monitoring", "Actions", "Tokens", "Listening", "Server", "Channelstream"].map((name) => ({
      name,
    })),
    security: [{ bearer: [] }, { session: [] }],
    paths: { ...paths, ...outerPaths(schemaOf), ...more },
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

function schemaOf(schema: z.ZodType, io: "input" | "output"): object {
  const { $schema: _, id: __, ...plain } = z.toJSONSchema(schema, { ...DIALECT, io, reused: "inline" });
  return inlined(plain);
}

/** Replaces references to named schemas by the schemas: each schema of the document is generated separately. */
function inlined(root: JsonObject): object {
  const { $defs, ...rest } = root;
  const definitions = isObject($defs) ? $defs : {};
  const replace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replace);
    if (!isObject(value)) return value;
    const { $ref } = value;
    if (typeof $ref === "string" && $ref.startsWith("#/$defs/")) {
      const found = definitions[$ref.slice("#/$defs/".length)];
      // A recursive schema (any JSON) becomes {}.
      return isObject(found) && !JSON.stringify(found).includes($ref) ? replace(found) : {};
    }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, replace(inner)]));
  };
  const made = replace(rest);
  return isObject(made) ? made : {};
}

function describe(operation: Operation): object {
  const { method, path, tag, summary, description, needs, params, query, body, example, answer, streams } =
    operation;
  const errors: Record<number, string> = {
    401: "Missing or wrong credentials",
    403: "Not allowed for this principal, or from a page of another origin",
    422: "Invalid request",
    429: "Ten wrong secrets within a minute: one attempt every 2 s is checked",
    ...(body === undefined ? {} : { 400: "The body is not JSON" }),
    ...operation.errors,
  };
  return {
    operationId: `${method.toLowerCase()}${path.replace(/[^a-zA-Z]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
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
          [streams ? "text/event-stream" : "application/json"]: { schema: schemaOf(answer, "output") },
        },
      },
      ...Object.fromEntries(
        Object.entries(errors).map(([status, meaning]) => [
          status,
          { description: meaning, content: { "application/json": { schema: ERROR } } },
        ]),
      ),
    },
  };
}

const ERROR = {
  type: "object",
  properties: { error: { type: "string" }, code: { type: "string", enum: HTTP_CODES } },
  required: ["error", "code"],
};

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

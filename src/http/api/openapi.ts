import * as z from "zod";
import { HTTP_CODES } from "../../auth/rejection.ts";
import { VERSION } from "../../version.ts";
import type { Operation } from "./operation.ts";
import { outerPaths } from "./other-paths.ts";

const DIALECT = { target: "draft-2020-12", unrepresentable: "any" } as const;

const NEEDS = {
  admin: "Needs the administrator.",
  publish: "Needs the administrator, or an API key that can `publish`.",
  moderate: "Needs the administrator, or an API key that can `moderate`.",
  read: "Needs the administrator, or an API key that can `read`.",
} as const;

/** The description of everything that is called over HTTP, in OpenAPI 3.1. `more` are paths of protocols. */
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
        'Everything that the administration page does. Send the admin secret, or an API key, as Bearer; the pages send the cookie of their sign-in instead. Every refusal is `{"error": "<sentence>", "code": "<code>"}`; the code never changes. Ten wrong secrets within a minute close the door to an address for the rest of it.',
    },
    servers: [{ url: basePath === "" ? "/" : basePath }],
    tags: ["Watching", "Acting", "Tokens", "Server", "Channelstream"].map((name) => ({ name })),
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
          description: "Channelstream's signature: made here for a signed-in administrator.",
        },
      },
    },
  };
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): object {
  const { $schema: _, id: __, ...plain } = z.toJSONSchema(schema, { ...DIALECT, io, reused: "inline" });
  return inlined(plain);
}

/** Named schemas come as definitions beside their first use; a document with a hundred roots wants them in place. */
function inlined(root: Record<string, unknown>): object {
  const { $defs, ...rest } = root;
  const definitions = isRecord($defs) ? $defs : {};
  const replace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replace);
    if (!isRecord(value)) return value;
    const { $ref } = value;
    if (typeof $ref === "string" && $ref.startsWith("#/$defs/")) {
      const found = definitions[$ref.slice("#/$defs/".length)];
      // Any JSON holds any JSON: what refers to itself is described as anything.
      return isRecord(found) && !JSON.stringify(found).includes($ref) ? replace(found) : {};
    }
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, replace(inner)]));
  };
  const made = replace(rest);
  return isRecord(made) ? made : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describe(operation: Operation): object {
  const { method, path, tag, summary, description, needs, params, query, body, example, answer, streams } =
    operation;
  const refusals: Record<number, string> = {
    401: "Neither the admin secret nor a key that is known",
    403: "Not for this principal, or from a page of another origin",
    422: "Not as described",
    429: "Ten wrong secrets within a minute: one in 2 s is looked at",
    ...(body === undefined ? {} : { 400: "The body is not JSON" }),
    ...operation.refusals,
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
        description: streams ? "A stream: the data of each event is this" : "Done",
        content: {
          [streams ? "text/event-stream" : "application/json"]: { schema: schemaOf(answer, "output") },
        },
      },
      ...Object.fromEntries(
        Object.entries(refusals).map(([status, meaning]) => [
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

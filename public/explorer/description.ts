import { field } from "../shared/page.ts";

/** Reads /openapi.json into what the page shows. What is missing or of another form is left out. */

export interface Parameter {
  readonly name: string;
  readonly where: "path" | "query";
  readonly required: boolean;
  readonly description: string;
  /** For people: `integer, 1 to 1000`. */
  readonly type: string;
  /** The value that the field begins with. */
  readonly example: string;
  readonly standard: string;
  /** The allowed values; empty if any text is. */
  readonly choices: readonly string[];
  /** Whether the parameter may be repeated. */
  readonly many: boolean;
}

export interface BodyField {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly description: string;
}

export interface ErrorCode {
  readonly status: string;
  readonly code: string;
  readonly sentence: string;
}

export interface Operation {
  /** Also the fragment of its place on the page. */
  readonly id: string;
  readonly method: string;
  /** With `{name}` for parameters. */
  readonly path: string;
  readonly group: string;
  readonly summary: string;
  readonly description: string;
  /** Who may call it: anyone, an administrator or key, or a holder of Channelstream's secret. */
  readonly access: "anyone" | "bearer" | "signature";
  readonly parameters: readonly Parameter[];
  /** The example body as indented JSON; `null`: it takes none. */
  readonly body: string | null;
  readonly fields: readonly BodyField[];
  /** The example answer as text. */
  readonly answer: string;
  /** Whether the answer is endless. */
  readonly streams: boolean;
  readonly errors: readonly ErrorCode[];
}

const METHODS = ["get", "post", "patch", "delete"] as const;

/** All operations, by group, in the order of the document's groups. */
export function readDescription(spec: unknown): ReadonlyMap<string, readonly Operation[]> {
  const groups = new Map<string, Operation[]>(
    list(field(spec, "tags")).map((tag) => [text(field(tag, "name")), []]),
  );
  for (const [path, item] of entries(field(spec, "paths")))
    for (const method of METHODS) {
      const described = field(item, method);
      if (described === undefined) continue;
      const operation = readOperation(path, method, described);
      groups.set(operation.group, [...(groups.get(operation.group) ?? []), operation]);
    }
  for (const [name, operations] of groups) if (operations.length === 0) groups.delete(name);
  return groups;
}

function readOperation(path: string, method: string, described: unknown): Operation {
  const content = field(field(described, "requestBody"), "content");
  const body = field(content, "application/json");
  const [[type, answer] = ["", undefined]] = entries(
    field(field(field(described, "responses"), "200"), "content"),
  );
  return {
    id: text(field(described, "operationId")),
    method: method.toUpperCase(),
    path,
    group: text(list(field(described, "tags"))[0]),
    summary: text(field(described, "summary")),
    description: text(field(described, "description")),
    access: readAccess(field(described, "security")),
    parameters: list(field(described, "parameters")).map(readParameter),
    body: body === undefined ? null : indented(field(body, "example")),
    fields: readFields(field(body, "schema")),
    answer: indented(field(answer, "example")),
    streams: type === "text/event-stream",
    errors: readErrors(field(described, "responses")),
  };
}

function readAccess(security: unknown): Operation["access"] {
  if (!Array.isArray(security)) return "bearer";
  return security.length === 0 ? "anyone" : "signature";
}

function readParameter(described: unknown): Parameter {
  const schema = field(described, "schema");
  const given = field(described, "example") ?? list(field(schema, "examples"))[0];
  const only = field(schema, "const");
  return {
    name: text(field(described, "name")),
    where: field(described, "in") === "path" ? "path" : "query",
    required: field(described, "required") === true,
    description: text(field(described, "description")),
    type: typeOf(schema),
    example: Array.isArray(given) ? given.map(text).join(" ") : text(given),
    standard: text(field(schema, "default")),
    choices: (only === undefined ? list(field(schema, "enum")) : [only]).map(text),
    many: field(schema, "type") === "array",
  };
}

function readFields(schema: unknown): BodyField[] {
  const required = new Set(list(field(schema, "required")));
  return entries(field(schema, "properties")).map(([name, described]) => ({
    name,
    type: typeOf(described),
    required: required.has(name),
    description: text(field(described, "description")),
  }));
}

function readErrors(responses: unknown): ErrorCode[] {
  return entries(responses).flatMap(([status, response]) => {
    const examples = field(field(field(response, "content"), "application/json"), "examples");
    return entries(examples).map(([code, example]) => ({
      status,
      code,
      sentence: text(field(field(example, "value"), "error")),
    }));
  });
}

/** A schema in a few words. */
function typeOf(schema: unknown): string {
  const options = list(field(schema, "anyOf"));
  if (options.length > 0) return [...new Set(options.map(typeOf))].join(" or ");
  const values = list(field(schema, "enum"));
  if (values.length > 0) return values.map(text).join(", ");
  const type = field(schema, "type");
  if (Array.isArray(type)) return type.map(text).join(" or ");
  if (type === "array") return `list of ${typeOf(field(schema, "items"))}`;
  const bounds = ["minimum", "maximum"].map((name) => field(schema, name));
  if (bounds.every((bound) => typeof bound === "number")) return `${text(type)}, ${bounds.join(" to ")}`;
  return text(type) || "any JSON";
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function entries(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

function text(value: unknown): string {
  return value === undefined || value === null ? "" : String(value);
}

function indented(value: unknown): string {
  return typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value, null, 2);
}

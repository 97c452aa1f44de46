import { HTTP_CODES, type Rejection } from "../../auth/rejection.ts";
import { DISCLOSED_CODES } from "../../auth/token-codes.ts";
import { JOIN_REASONS, PUSH_REASONS } from "../../hub/refusal-reasons.ts";
import { VERSION } from "../../version.ts";
import { generalErrors } from "./general-errors.ts";
import { schemaOf } from "./json-schema.ts";
import type { Operation } from "./operation.ts";
import { TOKEN_ERRORS, TokenAnswer, TokenBody } from "./other-paths.ts";
import { TypePrinter } from "./print-type.ts";

/**
 * `/channel.d.ts`: the written part, then the lists of codes and reasons, and the types of the API from its schemas.
 *
 * @param written the text of public/channel.d.ts
 */
export function declare(written: string, operations: readonly Operation[]): string {
  const printer = new TypePrinter();
  const entries = operations.map((operation) => entry(operation, printer));
  const named = [...printer.named].map(([name, type]) => `export type ${name} = ${type};`);
  const parts = [
    `/* Channel ${VERSION} */`,
    written.trim(),
    union("JoinReason", "The `reason` of a refused join.", JOIN_REASONS),
    union("JoinCode", "What a client may know of why it is `unauthorized`.", [...DISCLOSED_CODES]),
    union("PushReason", "The `reason` of a refused push.", PUSH_REASONS),
    "/* HTTP */",
    union("HttpCode", "The `code` of an HTTP error. Codes never change.", HTTP_CODES),
    API_ERROR,
    `/** Body of \`POST /token\`. */\nexport type TokenRequest = ${printer.print(schemaOf(TokenBody, "input"))};`,
    `/** Answer of \`POST /token\`. */\nexport type TokenAnswer = ${printer.print(schemaOf(TokenAnswer, "output"))};`,
    ...named,
    `${API_DOC}\nexport interface Api {\n${[TOKEN_ENTRY, ...entries].join("\n")}\n}`,
  ];
  return `${parts.join("\n\n")}\n`;
}

const API_ERROR = `/** The body of every HTTP error: a sentence, and a code for programs. */
export interface ApiError<Code extends HttpCode = HttpCode> {
  readonly error: string;
  readonly code: Code;
}`;

const API_DOC =
  '/** The operations of the HTTP API: `Api["POST /api/publish"]["body"]`, and so `path`, `query`, `answer` and `code`. */';

const TOKEN_ENTRY = fields("POST /token", "Get a token as a client", {
  body: "TokenRequest",
  answer: "TokenAnswer",
  code: codesOf(TOKEN_ERRORS),
});

function entry(operation: Operation, printer: TypePrinter): string {
  const { method, path, summary, params, query, body, answer, streams, errors } = operation;
  const type = (schema: Parameters<typeof schemaOf>[0], io: "input" | "output"): string =>
    printer.print(schemaOf(schema, io), 2);
  return fields(`${method} ${path}`, streams ? `${summary}: the data of one event` : summary, {
    ...(params === undefined ? {} : { path: type(params, "input") }),
    ...(query === undefined ? {} : { query: type(query, "input") }),
    ...(body === undefined ? {} : { body: type(body, "input") }),
    answer: type(answer, "output"),
    code: codesOf([...generalErrors(operation), ...errors]),
  });
}

function fields(name: string, summary: string, types: Readonly<Record<string, string>>): string {
  const lines = Object.entries(types).map(([key, type]) => `    readonly ${key}: ${type};`);
  return [`  /** ${summary}. */`, `  readonly ${JSON.stringify(name)}: {`, ...lines, "  };"].join("\n");
}

function codesOf(rejections: readonly Rejection[]): string {
  return [...new Set(rejections.map(({ code }) => JSON.stringify(code)))].join(" | ");
}

function union(name: string, doc: string, texts: readonly string[]): string {
  const lines = texts.map((text) => `\n  | ${JSON.stringify(text)}`);
  return `/** ${doc} */\nexport type ${name} =${lines.join("")};`;
}

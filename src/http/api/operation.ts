import * as z from "zod";
import type { Peer } from "../../auth/peer.ts";
import type { Principal } from "../../auth/principal.ts";
import { Rejection } from "../../auth/rejection.ts";
import type { ApiAbility } from "../../config/config.ts";
import type { InboundBudget } from "../../hub/inbound-budget.ts";
import { parseAround } from "../../hub/json/split-member.ts";
import type { Fields } from "../../log.ts";
import { readJson, readParsed } from "../body.ts";
import { json, reject } from "../json-response.ts";

/** The required API key ability, or `admin` for the administrator only. */
export type Needs = ApiAbility | "admin";

/** A validated request. */
export interface OperationRequest<Path, Query, Body> {
  readonly path: Path;
  readonly query: Query;
  readonly body: Body;
  readonly principal: Principal;
  readonly peer: Peer;
  readonly request: Request;
}

/** Declares one operation of the API. Validation, types and the OpenAPI description are derived from it. */
export interface Spec<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType,
  A extends z.ZodType,
> {
  readonly method: "GET" | "POST" | "DELETE";
  /** As OpenAPI writes it: `/api/channels/{name}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly needs: Needs;
  /** The name in the audit log; absent for operations that only read. */
  readonly act?: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** A member of the body passed unparsed, as `RawJson`. */
  readonly verbatim?: string;
  /** Maximum size of the body in bytes; `limits.max_body` if absent. */
  readonly maxBody?: number;
  /** An example body, where there is one. */
  readonly example?: z.input<B>;
  readonly answer: A;
  readonly exampleAnswer: z.input<A>;
  /** Whether the response is a stream of events; `answer` is then the data of one event. */
  readonly streams?: true;
  /** What it rejects a request with, besides `generalErrors`. The sentences are examples. */
  readonly errors?: readonly Rejection[];
  /** The target, for the audit log: never a secret, token or payload. */
  what?(request: Pick<OperationRequest<z.output<P>, z.output<Q>, z.output<B>>, "path" | "body">): Fields;
  run(request: OperationRequest<z.output<P>, z.output<Q>, z.output<B>>): Result<A> | Promise<Result<A>>;
}

type Result<A extends z.ZodType> = z.input<A> | Rejection | Response;

/** The target of an operation, for the audit log. */
export interface AuditTrail {
  what: Fields;
}

/** An operation without its type parameters. */
export interface Operation {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description: string | undefined;
  readonly needs: Needs;
  readonly act: string | undefined;
  readonly params: z.ZodObject | undefined;
  readonly query: z.ZodObject | undefined;
  readonly body: z.ZodType | undefined;
  readonly example: unknown;
  readonly answer: z.ZodType;
  readonly exampleAnswer: unknown;
  readonly streams: boolean;
  readonly errors: readonly Rejection[];
  /** Validates and runs a request. `maxBody` in bytes; sets `trail`. */
  handle(
    request: Request,
    path: Readonly<Record<string, string>>,
    principal: Principal,
    peer: Peer,
    maxBody: number,
    inbound: InboundBudget,
    trail: AuditTrail,
  ): Promise<Response>;
}

export function operation<
  P extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Q extends z.ZodObject = z.ZodObject<Record<never, never>>,
  B extends z.ZodType = z.ZodNull,
  A extends z.ZodType = z.ZodType,
>(spec: Spec<P, Q, B, A>): Operation {
  const { params, query, body, verbatim } = spec;
  return {
    method: spec.method,
    path: spec.path,
    tag: spec.tag,
    summary: spec.summary,
    description: spec.description,
    needs: spec.needs,
    act: spec.act,
    params,
    query,
    body,
    example: spec.example,
    answer: spec.answer,
    exampleAnswer: spec.exampleAnswer,
    streams: spec.streams ?? false,
    errors: spec.errors ?? [],
    async handle(request, given, principal, peer, maxBody, inbound, trail) {
      let sent: unknown = null;
      if (body !== undefined) {
        const limit = spec.maxBody ?? maxBody;
        const read =
          verbatim === undefined
            ? await readJson(request, limit, inbound)
            : await readParsed(request, limit, inbound, (bytes) => parseAround(bytes, verbatim));
        if (!read.ok) return reject(read);
        sent = read.value;
      }
      const search = Object.fromEntries(new URL(request.url).searchParams);
      const schema = z.object({
        path: params ?? EMPTY,
        query: query ?? EMPTY,
        body: body ?? z.null(),
      });
      const parsed = schema.safeParse({ path: given, query: search, body: sent });
      if (!parsed.success) return reject(new Rejection(422, "invalid_request", describeIssue(parsed.error)));
      // Each part was parsed by the schema of its type; zod cannot express this for optional schemas.
      const { path, query: parsedQuery, body: parsedBody } = parsed.data as unknown as Parts<P, Q, B>;
      trail.what = spec.what?.({ path, body: parsedBody }) ?? {};
      const answer = await spec.run({ path, query: parsedQuery, body: parsedBody, principal, peer, request });
      if (answer instanceof Rejection) return reject(answer);
      return answer instanceof Response ? answer : json(answer);
    },
  };
}

interface Parts<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly path: z.output<P>;
  readonly query: z.output<Q>;
  readonly body: z.output<B>;
}

const EMPTY = z.object({});

/** Describes the first issue: `body.channel: ...`. */
function describeIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "The request does not match /openapi.json.";
  const [part, ...rest] = issue.path.map(String);
  const place = rest.length === 0 ? `the ${part ?? "request"}` : rest.join(".");
  return `${place}: ${issue.message.replace(/\.$/, "")}.`;
}

import * as z from "zod";
import type { Principal } from "../../auth/admin.ts";
import type { Peer } from "../../auth/peer.ts";
import { Rejection } from "../../auth/rejection.ts";
import type { ApiAbility } from "../../config/config.ts";
import type { InboundBudget } from "../../hub/inbound-budget.ts";
import { parseExcept } from "../../hub/json/members.ts";
import type { Fields } from "../../log.ts";
import { readJson } from "../body.ts";
import { json, reject } from "../json-response.ts";

/** What a principal needs: a key that can do this, or to be the administrator. */
export type Needs = ApiAbility | "admin";

/** A request whose parts have been found good. */
export interface Asked<Path, Query, Body> {
  readonly path: Path;
  readonly query: Query;
  readonly body: Body;
  readonly principal: Principal;
  readonly peer: Peer;
  readonly request: Request;
}

/** One operation of the API: what it takes and gives, and who may do it. From this come its checks, types and description. */
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
  /** How the audit log calls it; what only reads has no name there. */
  readonly act?: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** A member of the body that comes as `JsonText`, as it was written. */
  readonly verbatim?: string;
  /** Bytes of the body; `limits.max_body` where absent. */
  readonly maxBody?: number;
  /** What a call may look like, for the explorer. */
  readonly example?: z.input<B>;
  readonly answer: A;
  /** Where the answer is a stream of events: `answer` then is one event's data. */
  readonly streams?: true;
  /** Statuses of refusals beside 401, 403, 422 and 429, and when they come. */
  readonly refusals?: Readonly<Record<number, string>>;
  /** What it is done to, for the audit log: no secret, no token, no payload. */
  what?(asked: Pick<Asked<z.output<P>, z.output<Q>, z.output<B>>, "path" | "body">): Fields;
  run(asked: Asked<z.output<P>, z.output<Q>, z.output<B>>): Given<A> | Promise<Given<A>>;
}

type Given<A extends z.ZodType> = z.input<A> | Rejection | Response;

/** What the audit log is to hold beside who did it. */
export interface Trail {
  what: Fields;
}

/** An operation of any kind: all that is left of its types is how it is described. */
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
  readonly streams: boolean;
  readonly refusals: Readonly<Record<number, string>>;
  /** Checks the parts of a request and runs it; `maxBody` in bytes. `trail` gets what it was done to. */
  handle(
    request: Request,
    path: Readonly<Record<string, string>>,
    principal: Principal,
    peer: Peer,
    maxBody: number,
    inbound: InboundBudget,
    trail: Trail,
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
    streams: spec.streams ?? false,
    refusals: spec.refusals ?? {},
    async handle(request, given, principal, peer, maxBody, inbound, trail) {
      let sent: unknown = null;
      if (body !== undefined) {
        const parse = verbatim === undefined ? JSON.parse : (text: string) => parseExcept(text, verbatim);
        const read = await readJson(request, spec.maxBody ?? maxBody, inbound, parse);
        if (!read.ok) return reject(read);
        sent = read.value;
      }
      const search = Object.fromEntries(new URL(request.url).searchParams);
      const whole = z.object({
        path: params ?? EMPTY,
        query: query ?? EMPTY,
        body: body ?? z.null(),
      });
      const parts = whole.safeParse({ path: given, query: search, body: sent });
      if (!parts.success) return reject(new Rejection(422, "invalid_request", sentenceOf(parts.error)));
      // Each part has just been parsed by the schema that its type comes from; zod can't say so of an optional one.
      const { path, query: asked, body: wanted } = parts.data as unknown as Parts<P, Q, B>;
      trail.what = spec.what?.({ path, body: wanted }) ?? {};
      const answer = await spec.run({ path, query: asked, body: wanted, principal, peer, request });
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

/** The first thing that is wrong, in one sentence: `body.channel: ...`. */
function sentenceOf(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "The request does not match /openapi.json.";
  const [part, ...rest] = issue.path.map(String);
  const place = rest.length === 0 ? `the ${part ?? "request"}` : rest.join(".");
  return `${place}: ${issue.message.replace(/\.$/, "")}.`;
}

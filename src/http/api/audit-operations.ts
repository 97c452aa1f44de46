import * as z from "zod";
import type { KeptAct } from "../../auth/recent-acts.ts";
import { Rejection } from "../../auth/rejection.ts";
import { paging, UnixMs } from "./api-schemas.ts";
import type { ApiDeps } from "./deps.ts";
import {
  coverage,
  FleetList,
  ListQuery,
  merge,
  SERVER_UNKNOWN,
  ServerParameter,
  Servers,
  sumOf,
  TOO_DEEP,
} from "./fleet-lists.ts";
import { type Operation, operation } from "./operation.ts";
import { byText, pageOf } from "./paginate.ts";

const ActRow = z
  .object({
    at: UnixMs,
    server: z.string().meta({ description: "The name of the server that was asked." }),
    act: z.string().meta({ description: "`sign_in`, `kick`, `disconnect`, `publish`, ..." }),
    who: z.string().meta({
      description:
        "`secret`, `session:` and the start of its id, `key:` and the name of the API key, or `nobody`.",
    }),
    from: z.string().meta({ description: "The client's address." }),
    what: z.record(z.string(), z.string()).meta({ description: "The target, such as `channel` and `id`." }),
    result: z.string().meta({ description: "`ok`, `refused` and the status, or `wrong secret`." }),
  })
  .meta({ id: "Act" });

type Row = z.infer<typeof ActRow>;

const RESULTS = ["ok", "failed"] as const;

const AuditQuery = ListQuery.extend({
  search: z.string(),
  order: z.enum(["asc", "desc"]).optional(),
  result: z.enum(RESULTS).optional(),
});

type AuditQuery = z.infer<typeof AuditQuery>;

function comparison(order: "asc" | "desc" | undefined) {
  const turned = order === "asc" ? 1 : -1;
  return (one: Row, other: Row) => turned * (one.at - other.at) || byText(one.server, other.server);
}

/** The acts of all servers. */
export function auditList({ acts, lists }: ApiDeps): FleetList<AuditQuery, Row> {
  const { name: server } = lists.identity;
  return new FleetList(lists, {
    kind: "list-audit",
    query: AuditQuery,
    row: ActRow,
    local({ search, order, result, offset, limit }) {
      const rows = acts.all().map((act) => ({ ...act, server }));
      const text = search.toLowerCase();
      const wanted = (row: Row): boolean =>
        (result === undefined || (row.result === "ok") === (result === "ok")) &&
        (text === "" || textOf(row).includes(text));
      return { total: rows.length, ...pageOf(rows, wanted, comparison(order), offset, limit) };
    },
  });
}

/** What a search looks in: as the log writes it. */
function textOf({ act, who, from, what, result, server }: KeptAct & { readonly server: string }): string {
  const target = Object.entries(what).map(([name, value]) => `${name}=${value}`);
  return [act, who, from, ...target, result, server].join(" ").toLowerCase();
}

export function auditOperations(list: ReturnType<typeof auditList>): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/api/audit",
      tag: "Monitoring",
      summary: "List administrative acts",
      description:
        "The newest of each server since it started, the newest first: 1000 changes, 200 publishes, 200 refused and 200 without a valid secret. The log has all of them.",
      needs: "admin",
      query: z.object({
        ...paging(100),
        result: z.enum(RESULTS).optional().meta({ description: "Only acts that were done, or that failed." }),
        server: ServerParameter,
      }),
      answer: z.object({
        total: z.number(),
        matching: z.number(),
        acts: z.array(ActRow),
        servers: Servers,
      }),
      exampleAnswer: {
        total: 40,
        matching: 1,
        acts: [
          {
            at: 1_893_452_400_000,
            server: "hub-1",
            act: "kick",
            who: "key:billing",
            from: "192.0.2.1",
            what: { channel: "room:7", id: "alice" },
            result: "ok",
          },
        ],
        servers: [{ name: "hub-1", ok: true }],
      },
      errors: [SERVER_UNKNOWN, TOO_DEEP],
      async run({ query: { server, ...query } }) {
        const pages = await list.gather({ ...query, scope: null }, server);
        if (pages instanceof Rejection) return pages;
        return {
          total: sumOf(pages, ({ total }) => total),
          matching: sumOf(pages, ({ matching }) => matching),
          acts: merge(pages, comparison(query.order), query),
          servers: coverage(pages),
        };
      },
    }),
  ];
}

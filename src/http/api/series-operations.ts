import * as z from "zod";
import { isObject, type JsonObject } from "../../auth/json-object.ts";
import { ChannelName, UnixMs } from "./api-schemas.ts";
import { CHANNEL_SHAPES } from "./channel-series.ts";
import { DAY } from "./day-series.ts";
import type { ApiDeps } from "./deps.ts";
import type { AnyList } from "./fleet-lists.ts";
import { type Operation, operation } from "./operation.ts";
import {
  ALL_CHANNELS_NEEDED,
  ALL_CHANNELS_NOTE,
  CHANNEL_NOT_ALLOWED,
  reaches,
  reachesAll,
} from "./scope-rejections.ts";
import {
  addRows,
  columnsOf,
  completeRows,
  decodeRows,
  encodeRows,
  namesOf,
  type SeriesShape,
} from "./series.ts";

/** Rows of a range. */
const DAY_ROWS = { "1h": 60, "24h": 24 * 60 } as const;

const CHANNEL_ROWS = {
  "10m": { resolution: "fine", count: 60 },
  "1h": { resolution: "coarse", count: 60 },
  "24h": { resolution: "coarse", count: 24 * 60 },
} as const;

const DAY_COLUMNS = namesOf(DAY);
const SERVERS = DAY_COLUMNS.indexOf("servers");

const ChannelRange = z.enum(["10m", "1h", "24h"]);

const DayQuery = z.object({ now: z.number(), count: z.number().int().min(1).max(DAY.slots) });
const ChannelQuery = z.object({ name: ChannelName, range: ChannelRange, now: z.number() });

const Values = z.record(z.string(), z.array(z.number().nullable()));

const SeriesAnswer = z
  .object({
    interval: z.number().meta({ description: "Time of one value, in ms." }),
    at: z.array(UnixMs).meta({ description: "Start of each interval." }),
    values: Values.meta({ description: "By name, one for each interval; null where there are none." }),
  })
  .meta({ id: "Series" });

function answerOf(shape: SeriesShape, rows: Float32Array, now: number): z.infer<typeof SeriesAnswer> {
  const names = namesOf(shape);
  const count = rows.length / names.length;
  const last = Math.floor(now / shape.interval);
  const at = Array.from({ length: count }, (_, i) => (last - count + 1 + i) * shape.interval);
  return { interval: shape.interval, at, values: columnsOf(rows, names) };
}

/** What other servers ask for. */
export function seriesRequests({ fleetStats, channelSeries }: ApiDeps): AnyList[] {
  return [
    {
      kind: "series-day",
      answer(body) {
        const query = DayQuery.safeParse(body);
        if (!query.success) return null;
        return { rows: encodeRows(fleetStats.day.series.rows(query.data.now, query.data.count)) };
      },
    },
    {
      kind: "series-channel",
      answer(body) {
        const query = ChannelQuery.safeParse(body);
        if (!query.success) return null;
        const { resolution, count } = CHANNEL_ROWS[query.data.range];
        return { rows: encodeRows(channelSeries.rows(query.data.name, resolution, count, query.data.now)) };
      },
    },
  ];
}

export function seriesOperations({ fleetStats, channelSeries, lists }: ApiDeps): Operation[] {
  /** The rows of the other servers that answered with as many values. */
  async function others(kind: string, body: JsonObject, length: number): Promise<Float32Array[]> {
    const answers = (await lists.fleet?.requests.ask(kind, body)) ?? [];
    return answers
      .map(({ body }) => (isObject(body) ? decodeRows(body.rows, length) : null))
      .filter((rows) => rows !== null);
  }

  return [
    operation({
      method: "GET",
      path: "/api/series",
      tag: "Monitoring",
      summary: "Statistics of the last hour or day",
      description: `The sums of all servers, one value a minute: rates per second, and the greatest value of connections, memberships, channels, buffered, memory, loop_delay and servers. \`bus_down\` is 1 if the bus was away in that minute. What this server has not seen, others fill in. ${ALL_CHANNELS_NOTE}`,
      needs: "read",
      query: z.object({ range: z.enum(["1h", "24h"]).default("24h") }),
      answer: SeriesAnswer,
      exampleAnswer: {
        interval: 60_000,
        at: [1_893_452_400_000, 1_893_452_460_000],
        values: { connections: [1200, 1210], delivered: [9000.5, 8800], servers: [3, 3] },
      },
      errors: [ALL_CHANNELS_NEEDED],
      async run({ query: { range }, principal }) {
        if (!reachesAll(principal)) return ALL_CHANNELS_NEEDED;
        const now = Date.now();
        const count = DAY_ROWS[range];
        const rows = fleetStats.day.series.rows(now, count);
        // Asked only for what this server has not seen: the first minute that it knows is incomplete.
        if (performance.now() < (count + 1) * DAY.interval) {
          for (const other of await others("series-day", { now, count }, rows.length))
            completeRows(rows, other, DAY_COLUMNS.length, SERVERS);
        }
        return answerOf(DAY, rows, now);
      },
    }),
    operation({
      method: "GET",
      path: "/api/channels/{name}/series",
      tag: "Monitoring",
      summary: "Statistics of a channel over time",
      description:
        "The sums of all servers: messages and bytes per second, and the greatest number of members; one value per 10 s (`10m`) or per minute. Kept of the busiest channels, and of a channel from the first request on: before it there are none.",
      needs: "read",
      params: z.object({ name: ChannelName }),
      query: z.object({ range: ChannelRange.default("10m") }),
      answer: SeriesAnswer,
      exampleAnswer: {
        interval: 10_000,
        at: [1_893_452_400_000, 1_893_452_410_000],
        values: { sent: [4.5, 4.1], pushed: [null, 0.1], members: [2, 2] },
      },
      errors: [CHANNEL_NOT_ALLOWED],
      async run({ path: { name }, query: { range }, principal }) {
        if (!reaches(principal, name)) return CHANNEL_NOT_ALLOWED;
        const now = Date.now();
        const { resolution, count } = CHANNEL_ROWS[range];
        const rows = channelSeries.rows(name, resolution, count, now);
        for (const other of await others("series-channel", { name, range, now }, rows.length))
          addRows(rows, other);
        return answerOf(CHANNEL_SHAPES[resolution], rows, now);
      },
    }),
  ];
}

/**
 * A stand-in for the backend of Tangram's `jet1090` plugin, a program of its own as that is. It hears `join-streaming`,
 * `bound-box` and `leave-streaming` on `from:system:*`, and once a second publishes to every page that has joined the
 * aircraft within its bounds, one page after the other, each when Redis has taken the one before.
 *
 * What it publishes is `{"count","aircraft"}` with three keys more in front, for the test: `sequence` counts the messages
 * of a page from 1, `sent` is Unix time in ms, `digest` that of the text of the list. On standard input, a line makes it
 * stop publishing and print `{"<connectionId>": <messages published>, ...}`.
 */
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { type Box, isBox } from "./box.ts";

const { values } = parseArgs({
  options: {
    "redis-url": { type: "string" },
    bytes: { type: "string", default: "200000" },
    phase: { type: "string", default: "0" },
  },
});
const redisUrl = values["redis-url"];
if (redisUrl === undefined) throw new Error("jet1090.ts needs --redis-url");
const bytes = Number(values.bytes);
/** When in a second a round begins, in ms: two backends at different phases do not disturb each other. */
const phase = Number(values.phase);

const INTERVAL_MS = 1000;
/** Turns of a list of aircraft, published in a circle, so that two messages in a row differ. */
const TURNS = 2;
const EVERYWHERE: Box = { northEastLat: 90, northEastLng: 180, southWestLat: -90, southWestLng: -180 };

interface Page {
  readonly turns: readonly { readonly list: string; readonly count: number; readonly digest: string }[];
  streaming: boolean;
}

const pages = new Map<string, Page>();
const published = new Map<string, number>();
const known = new Map<string, Page["turns"]>();

const incoming = new Redis(redisUrl);
const outgoing = new Redis(redisUrl);

incoming.on("pmessage", (_pattern: string, name: string, text: string) => {
  const message: unknown = JSON.parse(text);
  if (typeof message !== "object" || message === null || !("connectionId" in message)) return;
  const id = String(message.connectionId);
  const page = pages.get(id);
  if (name === "from:system:join-streaming") {
    pages.set(id, { turns: page?.turns ?? turnsIn(EVERYWHERE), streaming: true });
  } else if (name === "from:system:leave-streaming") {
    pages.delete(id);
  } else if (name === "from:system:bound-box" && isBox(message)) {
    pages.set(id, { turns: turnsIn(message), streaming: page?.streaming ?? false });
  }
});

/** Aircraft within a box, as many as make the wanted size. */
function turnsIn(box: Box): Page["turns"] {
  const key = [box.northEastLat, box.northEastLng, box.southWestLat, box.southWestLng].join();
  const turns = known.get(key) ?? makeTurns(box);
  known.set(key, turns);
  return turns;
}

function makeTurns(box: Box): Page["turns"] {
  return Array.from({ length: TURNS }, (_, turn) => {
    const aircraft: string[] = [];
    for (let size = 0; size < bytes; ) {
      const n = aircraft.length;
      const share = ((n * 31 + turn) % 97) / 97;
      const one = JSON.stringify({
        icao24: (0x390000 + n).toString(16),
        callsign: `TST${n}`,
        registration: `F-G${n}`,
        typecode: "A320",
        latitude: box.southWestLat + (box.northEastLat - box.southWestLat) * share,
        longitude: box.southWestLng + (box.northEastLng - box.southWestLng) * (1 - share),
        altitude: 38_000 - n,
        groundspeed: 441.5,
        track: (n * 7) % 360,
        vertical_rate: -64,
        squawk: "1000",
        nacp: 9,
        firstseen: 1_795_268_000 + n,
        lastseen: 1_795_268_600 + turn,
      });
      aircraft.push(one);
      size += one.length + 1;
    }
    const list = `[${aircraft.join(",")}]`;
    return { list, count: aircraft.length, digest: Bun.hash(list).toString(16) };
  });
}

async function publishRound(): Promise<void> {
  for (const [id, page] of pages) {
    if (!page.streaming) continue;
    const sequence = (published.get(id) ?? 0) + 1;
    const turn = page.turns[sequence % TURNS];
    if (turn === undefined) continue;
    published.set(id, sequence);
    const sent = performance.timeOrigin + performance.now();
    const head = `{"sequence":${sequence},"sent":${sent},"digest":"${turn.digest}","count":${turn.count},"aircraft":`;
    await outgoing.publish(`to:streaming-${id}:new-jet1090-data`, `${head}${turn.list}}`);
  }
}

await Promise.all([incoming.psubscribe("from:system:*"), outgoing.ping()]);
console.log("listening");

let stopped = false;
void (async () => {
  for await (const _line of console) {
    stopped = true;
    break;
  }
})();
while (!stopped) {
  await Bun.sleep(INTERVAL_MS - ((Date.now() - phase) % INTERVAL_MS));
  await publishRound();
}
console.log(JSON.stringify(Object.fromEntries(published)));
process.exit(0);

import { LongPoll } from "../../src/protocols/phoenix/phoenix-longpoll.ts";
import { jsonText } from "../unit/protocols/phoenix/fuzz/json-text.ts";
import type { Random } from "../unit/protocols/phoenix/fuzz/random.ts";
import { channelName, eventName, mutated, randomBytes } from "./inputs.ts";
import type { Target } from "./target.ts";
import { createFuzzWorld, inconsistency } from "./world.ts";

/** Maximum number of sessions at once. */
const PLACES = 30;
const STATUS = new Set([200, 204, 403, 410, 500]);
const PEER = { address: "192.0.2.1", https: false, loopback: false };

/** Requests of long polling: every answer is 200 with a body that phoenix.js knows. */
export async function longPoll(random: Random): Promise<Target> {
  const world = await createFuzzWorld();
  let used = 0;
  let serial = 0;
  const places = {
    mayBegin: () => used < PLACES,
    take: () => {
      if (used === PLACES) return false;
      used++;
      return true;
    },
    release: () => void used--,
  };
  const polls = new LongPoll(world.phoenix, places, () => `s${++serial}`);
  const tokens: string[] = [];
  return {
    async input() {
      if (random.chance(2)) polls.tick();
      if (random.chance(5)) world.bus.turnAround();
      if (random.chance(3))
        for (const each of world.hub.connections.all()) if (random.chance(20)) each.cutOff("slow");
      const known = tokens[random.next(tokens.length + 1)] ?? "";
      const token = random.chance(80) ? known : mutated(random, known).replaceAll(/[^\x20-\x7e]/g, "");
      const url = new URL(
        `http://localhost/longpoll?vsn=${random.pick(["2.0.0", "1.0.0", "2.0.1", "3", ""] as const)}`,
      );
      const headers = new Headers();
      if (random.chance(50)) headers.set("x-phoenix-longpoll-token", token);
      else url.searchParams.append("token", token);
      if (random.chance(20)) headers.set("x-phoenix-authtoken", "alice");
      const gone = new AbortController();
      const method = random.pick(["GET", "POST", "POST", "POST", "PUT", "DELETE"] as const);
      if (random.chance(80)) headers.set("content-type", "application/x-ndjson; charset=utf-8");
      const request = new Request(url, {
        method,
        headers,
        signal: gone.signal,
        ...(method === "POST" ? { body: bodyOf(random) } : {}),
      });
      const answering = polls.handle(request, url.searchParams, PEER, {});
      // A poll may wait for a message that is never sent.
      if (method === "GET") setImmediate(() => gone.abort());
      const response = await answering;
      if (response.status !== 200) return `answered ${response.status}`;
      const answer: unknown = await response.json().catch((error: unknown) => String(error));
      // A client that aborts within a large answer gets no body.
      if (typeof answer === "string") return gone.signal.aborted ? null : answer;
      if (typeof answer !== "object" || answer === null || !("status" in answer))
        return "a body without status";
      if (!STATUS.has(Number(answer.status))) return `a body with status ${answer.status}`;
      if ("token" in answer && typeof answer.token === "string" && !tokens.includes(answer.token)) {
        tokens[random.next(40)] = answer.token;
      }
      return null;
    },
    check() {
      if (used !== world.hub.connections.size)
        return `${used} places for ${world.hub.connections.size} sessions`;
      // The world's list of clients contains no long-poll clients.
      const wrong = inconsistency(world);
      return wrong?.includes("connections are known") === true ? null : wrong;
    },
    stop() {
      for (const each of [...world.hub.connections.all()]) each.close(1012, "over");
      world.stop();
    },
  };
}

function bodyOf(random: Random): Uint8Array<ArrayBuffer> | string {
  const frame = (): string => {
    const token = random.pick(["alice", "bob", "bad", "expired"] as const);
    const payload = random.chance(70) ? `{"token":"${token}"}` : jsonText(random, 2);
    const event = random.chance(50) ? "phx_join" : eventName(random);
    const text = `["1","${random.next(9)}",${JSON.stringify(channelName(random))},${JSON.stringify(event)},${payload}]`;
    const kind = random.next(10);
    if (kind < 7) return text;
    return kind < 9 ? mutated(random, text) : randomBytes(random, 40).toString("base64");
  };
  if (random.chance(5)) return new Uint8Array(randomBytes(random, 200));
  return random.times(random.chance(2) ? 120 : 4, frame).join("\n");
}

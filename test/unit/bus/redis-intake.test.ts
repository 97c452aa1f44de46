import { beforeEach, describe, expect, test } from "bun:test";
import { RedisSubscriber } from "../../../src/bus/redis/redis-subscriber.ts";

const MAX_PAYLOAD = 10_000;

let told: string[];
let rooms: number[];
let intake: RedisSubscriber;

beforeEach(() => {
  told = [];
  rooms = [];
  intake = new RedisSubscriber(
    {
      subscribed: () => void told.push("subscribed"),
      permitted: (refusal) => void told.push(`permitted: ${refusal}`),
      message(name, payload, room) {
        told.push(`${name.toString("latin1")} ${payload.toString("latin1")}`);
        rooms.push(room);
        // As whoever makes a frame in place does.
        payload.fill(0x2a);
        Buffer.from(payload.buffer, payload.byteOffset - room, room).fill(0x2a);
        if (payload.length <= MAX_PAYLOAD) {
          Buffer.from(payload.buffer, payload.byteOffset + payload.length, 2).fill(0x2a);
        }
      },
      failed: (reason) => void told.push(`failed: ${reason}`),
    },
    MAX_PAYLOAD,
  );
});

function bulk(text: string): string {
  return `$${Buffer.byteLength(text, "latin1")}\r\n${text}\r\n`;
}

function message(name: string, payload: string, sign = ">"): string {
  return `${sign}4\r\n${bulk("pmessage")}${bulk("to:*")}${bulk(name)}${bulk(payload)}`;
}

/** Feeds bytes in pieces that end where `cut` says. */
function feed(bytes: string, cuts: readonly number[]): void {
  const all = Buffer.from(bytes, "latin1");
  let from = 0;
  for (const to of [...cuts, all.length]) {
    intake.read(Buffer.from(all.subarray(from, to)));
    from = to;
  }
}

/** Numbers that look random and are the same in each run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const CONFIRMED = `>3\r\n${bulk("psubscribe")}${bulk("to:*")}:1\r\n`;

describe.each([">", "*"])("messages that begin with %s", (sign) => {
  const session = [
    sign === ">" ? CONFIRMED : CONFIRMED.replace(">", "*"),
    message("to:a:b", "1", sign),
    sign === ">" ? "+PONG\r\n" : `*2\r\n${bulk("pong")}${bulk("")}`,
    message("to:a:b", "", sign),
    message("to:a:\r\n$5", `\r\n>4\r\n${"x".repeat(3000)}`, sign),
    message("to:c:d", "last", sign),
  ].join("");
  const expected = [
    "subscribed",
    "to:a:b 1",
    "to:a:b ",
    `to:a:\r\n$5 \r\n>4\r\n${"x".repeat(3000)}`,
    "to:c:d last",
  ];

  test("are read wherever they are cut in two", () => {
    for (let cut = 0; cut <= session.length; cut++) {
      told = [];
      feed(session, [cut]);
      expect(told).toEqual(expected);
    }
  });

  test("are read byte by byte", () => {
    feed(
      session,
      Array.from({ length: session.length }, (_, i) => i),
    );
    expect(told).toEqual(expected);
  });

  test("are read in pieces of any sizes", () => {
    const random = seeded(7);
    for (let run = 0; run < 2_000; run++) {
      told = [];
      const cuts = Array.from({ length: Math.floor(random() * 12) }, () =>
        Math.floor(random() * session.length),
      );
      feed(
        session,
        cuts.sort((a, b) => a - b),
      );
      expect(told).toEqual(expected);
    }
  });
});

test("names and payloads hold any bytes, and the room before a payload is what stood there", () => {
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  feed(message(`to:${all}`, all), []);
  expect(told).toEqual([`to:${all} ${all}`]);
  expect(rooms).toEqual([message(`to:${all}`, all).length - all.length - 2]);
});

test("a payload over the limit is handed on cut, one byte too long, and what follows is read", () => {
  const long = message("to:a:b", "y".repeat(50_000)) + message("to:a:b", "next");
  for (const cuts of [[], [20], [60, 9_000, 30_000], [long.length - 5], [50_060], [10_050, 10_060, 10_070]]) {
    told = [];
    feed(long, cuts);
    expect(told).toEqual([`to:a:b ${"y".repeat(MAX_PAYLOAD + 1)}`, "to:a:b next"]);
  }
});

test("an error tells that the connection is of no use", () => {
  feed("-NOPERM this user has no permissions\r\n", [4]);
  expect(told).toEqual(["failed: NOPERM this user has no permissions"]);
});

test.each(["HTTP/1.1 400 Bad Request\r\n", ">x\r\n", ">4\r\n$8\r\npmessage\r\n$4\r\nto:*\r\n$1x\r\n"])(
  "%j is no answer of Redis'",
  (bytes) => {
    feed(bytes, []);
    expect(told[0]).toBe("failed: an answer that is not Redis'");
  },
);

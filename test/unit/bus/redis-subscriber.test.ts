import { beforeEach, describe, expect, test } from "bun:test";
import { ROOM_BEHIND } from "../../../src/bus/bus.ts";
import { RedisSubscriber, type SubscribingStream } from "../../../src/bus/redis/redis-subscriber.ts";

const MAX_PAYLOAD = 10_000;

let calls: string[];
let written: string;
let subscriber: RedisSubscriber;

const stream: SubscribingStream = {
  on() {},
  removeAllListeners() {},
  write(data) {
    written += Buffer.from(data).toString("latin1");
  },
};

beforeEach(() => {
  calls = [];
  written = "";
  subscriber = new RedisSubscriber(
    {
      subscribed: () => void calls.push("subscribed"),
      permitted: (refusal) => void calls.push(`permitted: ${refusal}`),
      refused: (what, reason) => void calls.push(`refused: ${what} ${reason}`),
      releasable: (isPermitted) => void calls.push(`releasable: ${isPermitted}`),
      message(name, payload, room) {
        calls.push(`${name.toString("latin1")} ${payload.toString("latin1")}`);
        overwrite(payload, room);
      },
      failed: (reason) => void calls.push(`failed: ${reason}`),
    },
    { families: ["to", "hub"], prefix: "", maxPayload: MAX_PAYLOAD },
  );
  subscriber.take(stream);
});

/** Overwrites all that a receiver may overwrite: what is parsed afterwards must not depend on it. */
function overwrite({ buffer, byteOffset, length }: Buffer, room: number): void {
  if (room > 0) Buffer.from(buffer, byteOffset - room, room + length + ROOM_BEHIND).fill("!");
}

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
    subscriber.read(Buffer.from(all.subarray(from, to)));
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

/** The confirmation of a pattern. */
function confirmed(pattern: string, count: number, sign = ">"): string {
  return `${sign}3\r\n${bulk("psubscribe")}${bulk(pattern)}:${count}\r\n`;
}

describe.each([">", "*"])("messages that begin with %s", (sign) => {
  const session = [
    confirmed("to:*", 1, sign),
    confirmed("hub:*", 2, sign),
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
      calls = [];
      subscriber.take(stream);
      feed(session, [cut]);
      expect(calls).toEqual(expected);
    }
  });

  test("are read byte by byte", () => {
    feed(
      session,
      Array.from({ length: session.length }, (_, i) => i),
    );
    expect(calls).toEqual(expected);
  });

  test("are read in pieces of any sizes", () => {
    const random = seeded(7);
    for (let run = 0; run < 2_000; run++) {
      calls = [];
      subscriber.take(stream);
      const cuts = Array.from({ length: Math.floor(random() * 12) }, () =>
        Math.floor(random() * session.length),
      );
      feed(
        session,
        cuts.sort((a, b) => a - b),
      );
      expect(calls).toEqual(expected);
    }
  });
});

test("names and payloads hold any bytes", () => {
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  feed(message(`to:${all}`, all), []);
  expect(calls).toEqual([`to:${all} ${all}`]);
});

test("a payload over the limit is handed on cut, one byte too long, and what follows is read", () => {
  const long = message("to:a:b", "y".repeat(50_000)) + message("to:a:b", "next");
  for (const cuts of [[], [20], [60, 9_000, 30_000], [long.length - 5], [50_060], [10_050, 10_060, 10_070]]) {
    calls = [];
    feed(long, cuts);
    expect(calls).toEqual([`to:a:b ${"y".repeat(MAX_PAYLOAD + 1)}`, "to:a:b next"]);
  }
});

test("an error before the subscription makes the connection unusable", () => {
  feed("-NOPERM this user has no permissions\r\n", [4]);
  expect(calls).toEqual(["failed: NOPERM this user has no permissions"]);
  expect(written).toBe("*2\r\n$10\r\nPSUBSCRIBE\r\n$4\r\nto:*\r\n*2\r\n$10\r\nPSUBSCRIBE\r\n$5\r\nhub:*\r\n");
});

test.each(["HTTP/1.1 400 Bad Request\r\n", ">x\r\n", ">4\r\n$8\r\npmessage\r\n$4\r\nto:*\r\n$1x\r\n"])(
  "%j is not a reply of Redis",
  (bytes) => {
    feed(bytes, []);
    expect(calls[0]).toBe("failed: not a reply of Redis");
  },
);

test("names of all families are delivered without the prefix", () => {
  const names: string[] = [];
  const prefixed = new RedisSubscriber(
    {
      subscribed: () => {},
      permitted: () => {},
      refused: () => {},
      releasable: () => {},
      message: (name, payload) => void names.push(`${name} ${payload}`),
      failed: (reason) => void names.push(reason),
    },
    { families: ["to", "hub"], prefix: "one.", maxPayload: MAX_PAYLOAD },
  );
  const of = (pattern: string, name: string): string =>
    `*4\r\n${bulk("pmessage")}${bulk(pattern)}${bulk(name)}${bulk("1")}`;
  const all = of("one.to:*", "one.to:a:b") + of("one.hub:*", "one.hub:revoked") + of("one.to:*", "one.to:");
  for (const byte of Buffer.from(all)) prefixed.read(Buffer.of(byte));
  prefixed.read(Buffer.from(all));
  const expected = ["to:a:b 1", "hub:revoked 1", "to: 1"];
  expect(names).toEqual([...expected, ...expected]);
});

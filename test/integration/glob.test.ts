import { expect, test } from "bun:test";
import { Redis } from "ioredis";
import { compileGlob } from "../../src/bus/embedded/glob.ts";
import { randomFrom, SEED } from "./random.ts";
import { startRedis } from "./redis-process.ts";

/** Few letters, so that matches are frequent, and every special character of a pattern. */
const NAME_BYTES = [..."abc-]^[\\*?:", "\xc3", "\xbc"];
const PATTERN_PARTS = [..."abc:-]^[\\*?", "*", "[", "[a", "[^", "a-c", "c-a", "]", "\\]", "**", "\xc3"];

test("matches thousands of patterns as Redis does", async () => {
  const random = randomFrom(SEED);
  const text = (parts: readonly string[], most: number): string =>
    Array.from({ length: random.int(most + 1) }, () => random.pick(parts)).join("");
  const names = [...new Set(Array.from({ length: 300 }, () => text(NAME_BYTES, 6)))];
  const patterns = [...new Set(Array.from({ length: 4000 }, () => text(PATTERN_PARTS, 7)))].filter(
    // The order of non-ASCII bytes in a range depends on the machine Redis was compiled for.
    (pattern) => !/-\xc3|\xc3-/.test(pattern),
  );
  const redis = await startRedis();
  const subscriber = new Redis(redis.url);
  const client = new Redis(redis.url);
  try {
    await subscriber.subscribe(...names.map((name) => Buffer.from(name, "latin1")));
    const answers = await Promise.all(
      patterns.map((pattern) => client.callBuffer("PUBSUB", "CHANNELS", Buffer.from(pattern, "latin1"))),
    );
    let matched = 0;
    patterns.forEach((pattern, i) => {
      const answer: unknown = answers[i];
      const matchedByRedis = (Array.isArray(answer) ? answer : [])
        .map((name) => Buffer.from(name).toString("latin1"))
        .sort();
      const glob = compileGlob(Buffer.from(pattern, "latin1"));
      const ours = names.filter((name) => glob.matches(Buffer.from(name, "latin1"))).sort();
      expect({ pattern, names: ours }).toEqual({ pattern, names: matchedByRedis });
      matched += ours.length;
    });
    expect(matched).toBeGreaterThan(5000);
  } finally {
    subscriber.disconnect();
    client.disconnect();
    await redis.stop();
  }
});

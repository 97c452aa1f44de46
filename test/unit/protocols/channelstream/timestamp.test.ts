import { expect, test } from "bun:test";
import {
  createMicroClock,
  printTimestamp,
  readTimestamp,
} from "../../../../src/protocols/channelstream/timestamp.ts";

test("a timestamp has microseconds and no zone", () => {
  expect(printTimestamp(Date.UTC(2011, 8, 15, 11, 36, 18, 471) * 1000 + 862)).toBe(
    "2011-09-15T11:36:18.471862",
  );
  expect(printTimestamp(0)).toBe("1970-01-01T00:00:00.000000");
});

test("no two timestamps are alike, and a clock that is set back a little does not set them back", () => {
  const times = [1000, 1000, 999, 1000, 1001];
  const clock = createMicroClock(() => times.shift() ?? 0);
  expect([clock(), clock(), clock(), clock(), clock()]).toEqual([
    1_000_000, 1_000_001, 1_000_002, 1_000_003, 1_001_000,
  ]);
  // Set back by an hour, time goes on from there.
  expect(createMicroClock(() => 5)()).toBe(5000);
});

test.each([
  ["2010-01-01T01:01", "2010-01-01T01:01:00"],
  ["2010-01-01 01:01:02.5", "2010-01-01T01:01:02.500000"],
  ["2010-01-01T01:01:02.123456789", "2010-01-01T01:01:02.123456"],
  ["2010-01-01T01:01:02Z", "2010-01-01T01:01:02"],
  ["2010-01-01T01:01:02+02:00", "2009-12-31T23:01:02"],
  ["2010-01-01T01:01:02-0530", "2010-01-01T06:31:02"],
  ["2024-02-29T00:00:00+01", "2024-02-28T23:00:00"],
  ["0099-01-01T00:00", "0099-01-01T00:00:00"],
])("%s is %s", (given, read) => {
  expect(readTimestamp(given)).toBe(read);
});

test.each([
  "",
  "z",
  "2010-01-01",
  "2010-13-01T01:01",
  "2010-02-30T01:01",
  "2010-01-01T25:01",
  "2010-01-01T01:61",
  "2010-01-01T01:01+99:99",
  "0000-01-01T00:00",
  "9999-12-31T23:59-12:00",
  "0001-01-01T00:00+12:00",
  " 2010-01-01T01:01",
])("%p is no timestamp", (given) => {
  expect(readTimestamp(given)).toBeNull();
});

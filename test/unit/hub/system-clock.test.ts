import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { localTime, startClock } from "../../../src/hub/system-clock.ts";

const CLOCK = new URL("../../../src/hub/system-clock.ts", import.meta.url).pathname;

/** A process of its own for each time zone: one that runs keeps the zone it started with. */
async function localTimeIn(zone: string, utc: string): Promise<string> {
  const script = `import { localTime } from ${JSON.stringify(CLOCK)};
    console.log(localTime(new Date(${JSON.stringify(utc)})));`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    env: { ...process.env, TZ: zone },
    stdout: "pipe",
    stderr: "inherit",
  });
  return (await new Response(child.stdout).text()).trim();
}

test.each([
  ["UTC", "2026-11-21T10:00:00.000Z", "2026-11-21T10:00:00.000+00:00"],
  ["Europe/Berlin", "2026-11-21T10:00:00.007Z", "2026-11-21T11:00:00.007+01:00"],
  ["Europe/Berlin", "2026-07-01T22:30:00.000Z", "2026-07-02T00:30:00.000+02:00"],
  ["America/New_York", "2026-01-01T03:00:00.999Z", "2025-12-31T22:00:00.999-05:00"],
  ["America/St_Johns", "2026-01-01T03:00:00.000Z", "2025-12-31T23:30:00.000-03:30"],
  ["Asia/Kathmandu", "2026-02-28T18:30:00.000Z", "2026-03-01T00:15:00.000+05:45"],
  ["Pacific/Kiritimati", "2026-12-31T10:00:00.000Z", "2027-01-01T00:00:00.000+14:00"],
  // An hour that occurs twice: only the offset differs.
  ["Europe/Berlin", "2026-10-25T00:30:00.000Z", "2026-10-25T02:30:00.000+02:00"],
  ["Europe/Berlin", "2026-10-25T01:30:00.000Z", "2026-10-25T02:30:00.000+01:00"],
])("in %s %s is %s", async (zone, utc, local) => {
  expect(await localTimeIn(zone, utc)).toBe(local);
});

test("a local time parses to the time it was made from", () => {
  for (const at of [0, 1, 999, 1_763_719_200_123, 1_780_000_000_000]) {
    const text = localTime(new Date(at));
    expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/);
    expect(Date.parse(text)).toBe(at);
  }
});

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test("the clock ticks once a second, counts from 0, and stops", () => {
  const ticks: unknown[] = [];
  const stop = startClock((payload) => ticks.push(JSON.parse(payload)));
  jest.advanceTimersByTime(999);
  expect(ticks).toHaveLength(0);
  jest.advanceTimersByTime(2001);
  expect(ticks).toMatchObject([0, 1, 2].map((counter) => ({ status: "ok", response: { counter } })));
  stop();
  jest.advanceTimersByTime(5000);
  expect(ticks).toHaveLength(3);
});

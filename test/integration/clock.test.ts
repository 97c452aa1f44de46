import { describe, expect, test } from "bun:test";
import { type Frame, VERSIONS } from "./phoenix-client.ts";
import { BUSES, startWorld } from "./world.ts";

interface Tick {
  readonly datetime: string;
  readonly counter: number;
}

function tickOf({ payload }: Frame): Tick {
  const found: { status?: unknown; response?: { datetime?: unknown; counter?: unknown } } = Object(payload);
  const { datetime, counter } = found.response ?? {};
  if (found.status !== "ok" || typeof datetime !== "string" || typeof counter !== "number") {
    throw new Error(`no tick: ${JSON.stringify(payload)}`);
  }
  return { datetime, counter };
}

describe.concurrent("the clock of the system channel", () => {
  for (const bus of BUSES) {
    test(`sends every member the local time with milliseconds and offset once a second, on ${bus}`, async () => {
      const world = await startWorld(bus, { env: { TZ: "Asia/Kolkata" } });
      try {
        const received = await world.backend.listen("*:system:*");
        const clients = await Promise.all(VERSIONS.map((vsn) => world.connect({ vsn })));
        for (const client of clients) await client.join("system", { token: world.token("system") });
        const ticks: Tick[][] = [];
        for (const client of clients) {
          const own: Tick[] = [];
          for (let i = 0; i < 3; i++) {
            const frame = await client.event("datetime");
            expect(frame).toMatchObject({ topic: "system", ref: null });
            expect(Object.keys(Object(frame.payload))).toEqual(["status", "response"]);
            own.push(tickOf(frame));
          }
          ticks.push(own);
        }
        const [first = [], second = []] = ticks;
        expect(
          second.filter((tick) => first.some((other) => other.counter === tick.counter)).length,
        ).toBeGreaterThan(1);
        for (const [i, { datetime, counter }] of first.entries()) {
          expect(datetime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+05:30$/);
          expect(Math.abs(Date.parse(datetime) - Date.now())).toBeLessThan(60_000);
          expect(Number.isInteger(counter)).toBe(true);
          const before = first[i - 1];
          if (before === undefined) continue;
          expect(counter).toBe(before.counter + 1);
          // A late tick does not delay the next one.
          expect(Date.parse(datetime) - Date.parse(before.datetime)).toBeGreaterThan(0);
        }
        // A client that left receives no more ticks. Redis receives none at all.
        const [one] = clients;
        await one?.ask({ topic: "system", event: "phx_leave" });
        await one?.fence();
        await clients[1]?.fence();
        await clients[1]?.event("datetime");
        expect((await one?.fence())?.map((each) => each.event)).not.toContain("datetime");
        expect(received.all.map((each) => each.name)).not.toContain("to:system:datetime");
      } finally {
        await world.stop();
      }
    }, 15_000);
  }

  test("datetime = false disables it", async () => {
    const world = await startWorld("embedded", { toml: "datetime = false\n" });
    try {
      const client = await world.connect();
      await client.join("system", { token: world.token("system") });
      await Bun.sleep(2300);
      await client.fence();
      expect(client.frames.all.map((each) => each.event)).not.toContain("datetime");
    } finally {
      await world.stop();
    }
  }, 15_000);
});

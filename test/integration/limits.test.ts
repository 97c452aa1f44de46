import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, VERSIONS } from "./phoenix-client.ts";
import { startWorld, type World } from "./world.ts";

/** Frames that a socket may send in a burst: ten times the limit of ten a second. */
const BURST = 100;

let world: World;
beforeAll(async () => {
  world = await startWorld("embedded", {
    toml: `
[channels."quiet*"]
presence = false
[limits]
frames_per_second = 10
max_channels = 2
`,
  });
});
afterAll(() => world.stop());

for (const vsn of VERSIONS) {
  describe(`frames_per_second, ${vsn}`, () => {
    test("answers a push or join over the limit, ignores other frames, and recovers", async () => {
      const client = await world.connect({ vsn });
      const topic = `quiet:${vsn}`;
      await client.join(topic, { token: world.token(topic) });
      const received = await world.backend.listenToPushes(topic);
      const pushes = Array.from({ length: 2 * BURST }, (_, i) => ({ ref: `p${i}`, topic, event: "news" }));
      const began = performance.now();
      client.sendTogether([
        ...pushes,
        {
          ref: "join",
          topic: "quiet:other",
          event: "phx_join",
          payload: JSON.stringify({ token: world.token("quiet:other") }),
        },
        { ref: "beat", topic: "phoenix", event: "heartbeat" },
        { ref: "leave", topic, event: "phx_leave" },
      ]);
      const limited = { reason: "rate limited" };
      expect(await client.reply("join")).toMatchObject({ status: "error", response: limited });

      // A rejected push is answered at once, an accepted one when the bus has it.
      const replies = await eventually(() => {
        const found = client.frames.all.filter((each) => String(each.ref).startsWith("p"));
        return found.length === pushes.length ? found : null;
      }, "a reply to every push");
      const accepted = new Set(replies.filter((each) => each.text.includes('"ok"')).map((each) => each.ref));
      const rejected = new Set(
        replies.filter((each) => each.text.includes('"rate limited"')).map((each) => each.ref),
      );
      // Ten more for each second of the test.
      expect(accepted.size).toBeWithin(BURST - 5, BURST + 10 * Math.ceil((performance.now() - began) / 1000));
      // The burst is accepted first, then single pushes at the rate, in order.
      const refs = pushes.map((each) => each.ref);
      expect([...accepted].slice(0, BURST - 5)).toEqual(refs.slice(0, BURST - 5));
      expect([...accepted]).toEqual(refs.filter((ref) => accepted.has(ref)));
      expect([...rejected]).toEqual(refs.filter((ref) => !accepted.has(ref)));

      // At ten a second the next frame is accepted 100 ms later.
      await Bun.sleep(400);
      expect((await client.ask({ topic, event: "later" })).status).toBe("ok");
      await received.until((each) => each.name.endsWith(":later"));
      expect(received.all.length).toBe(accepted.size + 1);
      expect(client.frames.all.filter((each) => each.ref === "beat" || each.ref === "leave")).toEqual([]);
      expect(client.frames.all.filter((each) => each.event === "phx_close")).toEqual([]);
    });

    test("is counted for each socket, without pings", async () => {
      const [noisy, calm] = [await world.connect({ vsn }), await world.connect({ vsn })];
      noisy.sendTogether(
        Array.from({ length: BURST + 20 }, (_, i) => ({
          ref: `b${i}`,
          topic: "phoenix",
          event: "heartbeat",
        })),
      );
      for (let i = 0; i < 3 * BURST; i++) calm.socket.ping();
      expect((await calm.join("quiet", { token: world.token("quiet") })).status).toBe("ok");
      await noisy.reply(`b${BURST - 1}`);
      for (let i = 0; i < 3 * BURST; i++) await calm.socket.pongs.next();
      await calm.fence();
    });
  });

  test(`max_channels counts the currently joined channels, ${vsn}`, async () => {
    const client = await world.connect({ vsn });
    const token = world.token("quiet*");
    const tries: unknown[] = [];
    for (const topic of ["quiet:1", "quiet:2", "quiet:3", "quiet:2"]) {
      tries.push((await client.join(topic, { token })).status);
    }
    expect(tries).toEqual(["ok", "ok", "error", "ok"]);
    await client.ask({ topic: "quiet:2", event: "phx_leave" });
    expect((await client.join("quiet:3", { token })).status).toBe("ok");
    // A rejected join does not count.
    const other = await world.connect({ vsn });
    for (let i = 0; i < 5; i++) await other.join(`quiet:${i}`, { token: "bad" });
    expect((await other.join("quiet:1", { token })).status).toBe("ok");
  });
}

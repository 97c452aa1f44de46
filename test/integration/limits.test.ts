import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, VERSIONS } from "./phoenix-client.ts";
import { startWorld, type World } from "./world.ts";

/** A socket may send ten a second, and ten times that in a burst. */
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
    test("a push or join over it is answered, anything else ignored, and it recovers", async () => {
      const client = await world.connect({ vsn });
      const topic = `quiet:${vsn}`;
      await client.join(topic, { token: world.token(topic) });
      const heard = await world.backend.listenToPushes(topic);
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

      // What is refused is answered at once, what is taken when the bus has it.
      const replies = await eventually(() => {
        const found = client.frames.all.filter((each) => String(each.ref).startsWith("p"));
        return found.length === pushes.length ? found : null;
      }, "a reply to every push");
      const taken = new Set(replies.filter((each) => each.text.includes('"ok"')).map((each) => each.ref));
      const refused = new Set(
        replies.filter((each) => each.text.includes('"rate limited"')).map((each) => each.ref),
      );
      // Ten more for each second that it took.
      expect(taken.size).toBeWithin(BURST - 5, BURST + 10 * Math.ceil((performance.now() - began) / 1000));
      // Those of the burst come first; the few of the rate come as time passes, in order too.
      const refs = pushes.map((each) => each.ref);
      expect([...taken].slice(0, BURST - 5)).toEqual(refs.slice(0, BURST - 5));
      expect([...taken]).toEqual(refs.filter((ref) => taken.has(ref)));
      expect([...refused]).toEqual(refs.filter((ref) => !taken.has(ref)));

      // At ten a second the next is good a moment later.
      await Bun.sleep(400);
      expect((await client.ask({ topic, event: "later" })).status).toBe("ok");
      await heard.until((each) => each.name.endsWith(":later"));
      expect(heard.all.length).toBe(taken.size + 1);
      expect(client.frames.all.filter((each) => each.ref === "beat" || each.ref === "leave")).toEqual([]);
      expect(client.frames.all.filter((each) => each.event === "phx_close")).toEqual([]);
    });

    test("has a budget for each socket, and pings are not counted", async () => {
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

  test(`max_channels counts what is joined now, ${vsn}`, async () => {
    const client = await world.connect({ vsn });
    const token = world.token("quiet*");
    const tries: unknown[] = [];
    for (const topic of ["quiet:1", "quiet:2", "quiet:3", "quiet:2"]) {
      tries.push((await client.join(topic, { token })).status);
    }
    expect(tries).toEqual(["ok", "ok", "error", "ok"]);
    await client.ask({ topic: "quiet:2", event: "phx_leave" });
    expect((await client.join("quiet:3", { token })).status).toBe("ok");
    // A refused join takes no place.
    const other = await world.connect({ vsn });
    for (let i = 0; i < 5; i++) await other.join(`quiet:${i}`, { token: "bad" });
    expect((await other.join("quiet:1", { token })).status).toBe("ok");
  });
}

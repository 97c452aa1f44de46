import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { WAYS } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

for (const bus of BUSES) {
  describe(`on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: `[channels."quiet*"]\npresence = false\n` });
    });
    afterAll(() => world.stop());

    for (const { vsn, transport, way } of WAYS) {
      const v2 = vsn === "2.0.0";

      describe(`leave, ${way}`, () => {
        test("is answered with ok, then phx_close, then no further frames", async () => {
          const client = await world.connect({ transport, vsn });
          const { joinRef } = await client.join("quiet", { token: world.token("quiet") });
          client.send({ joinRef, ref: "bye", topic: "quiet", event: "phx_leave" });
          const reply = await client.frames.next();
          expect(reply).toMatchObject({ event: "phx_reply", ref: "bye", topic: "quiet" });
          expect(reply.payload).toMatchObject({ status: "ok" });
          const close = await client.frames.next();
          expect(close).toMatchObject({ event: "phx_close", ref: joinRef, topic: "quiet", payload: {} });
          if (v2) {
            expect(reply.joinRef).toBe(joinRef);
            expect(close.joinRef).toBe(joinRef);
          }
          const witness = await world.connect({ transport, vsn });
          await witness.join("quiet", { token: world.token("quiet") });
          await world.backend.publish("to:quiet:late", "1");
          await witness.event("late");
          expect(await client.fence()).toEqual([]);
        });

        test("of a topic that was not joined is answered with ok", async () => {
          const client = await world.connect({ transport, vsn });
          for (const topic of ["quiet", "", "phoenix", "admin"]) {
            expect((await client.ask({ topic, event: "phx_leave" })).status).toBe("ok");
          }
          await client.fence();
          expect(client.frames.all.map((each) => each.event)).toEqual(Array(5).fill("phx_reply"));
        });

        test("with a stale join_ref is ignored", async () => {
          const client = await world.connect({ transport, vsn });
          const token = world.token("quiet");
          const first = await client.join("quiet", { token });
          await client.join("quiet", { token });
          await client.fence();
          client.send({ joinRef: first.joinRef, ref: "stale", topic: "quiet", event: "phx_leave" });
          expect(await client.fence()).toEqual([]);
          await world.backend.publish("to:quiet:still", "1");
          await client.event("still");
        });

        test("with a null join_ref leaves the current membership", async () => {
          const client = await world.connect({ transport, vsn });
          const token = world.token("quiet");
          await client.join("quiet", { token });
          const second = await client.join("quiet", { token });
          client.send({ joinRef: null, ref: "bye", topic: "quiet", event: "phx_leave" });
          expect((await client.reply("bye")).status).toBe("ok");
          expect((await client.event("phx_close")).ref).toBe(second.joinRef);
        });

        test("with a null ref is answered with a null ref, then phx_close", async () => {
          const client = await world.connect({ transport, vsn });
          const { joinRef } = await client.join("quiet", { token: world.token("quiet") });
          for (const topic of ["quiet", "not joined"]) {
            client.send({ joinRef, ref: null, topic, event: "phx_leave" });
            const { status, frame } = await client.reply(null);
            expect([status, frame.topic]).toEqual(["ok", topic]);
            if (topic === "quiet") expect((await client.frames.next()).event).toBe("phx_close");
          }
        });

        test("allows a new join of the topic", async () => {
          const client = await world.connect({ transport, vsn });
          const token = world.token("quiet");
          for (let i = 0; i < 3; i++) {
            expect((await client.join("quiet", { token })).status).toBe("ok");
            expect((await client.ask({ topic: "quiet", event: "phx_leave" })).status).toBe("ok");
          }
          await client.fence();
          const events = client.frames.all.filter((each) => each.topic === "quiet").map((each) => each.event);
          expect(events).toEqual([1, 2, 3].flatMap(() => ["phx_reply", "phx_reply", "phx_close"]));
        });
      });
    }
  });
}

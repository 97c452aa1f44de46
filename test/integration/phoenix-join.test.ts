import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mint, WAYS } from "./phoenix-client.ts";
import { BUSES, SECRET, startWorld, type World } from "./world.ts";

const past = (seconds: number): number => Math.floor(Date.now() / 1000) - seconds;

for (const bus of BUSES) {
  describe(`on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, {
        toml: `[channels."quiet*"]\npresence = false\n[limits]\nmax_channels = 3\n`,
      });
    });
    afterAll(() => world.stop());

    for (const { vsn, transport, way } of WAYS) {
      const v2 = vsn === "2.0.0";

      describe(`join, ${way}`, () => {
        test("is answered with the agent id, then sends the state, then the diff", async () => {
          const topic = `room:${way}`;
          const client = await world.connect({ transport, vsn });
          client.send({
            joinRef: "3",
            ref: "4",
            topic,
            event: "phx_join",
            payload: JSON.stringify({ token: world.token(topic) }),
          });
          const reply = await client.frames.next();
          expect(reply).toMatchObject({ topic, event: "phx_reply", ref: "4", payload: { status: "ok" } });
          expect(reply.payload).toEqual({ status: "ok", response: { id: expect.any(String) } });
          expect(JSON.stringify(reply.payload)).toMatch(
            new RegExp(`"id":"[^:"]{8,}:${topic.replaceAll(".", "\\.")}:3"`),
          );
          const state = await client.frames.next();
          expect(state).toMatchObject({ topic, event: "presence_state", ref: null });
          const [conn] = String(Object(reply.payload).response.id).split(":");
          expect(state.payload).toEqual({
            alice: {
              metas: [
                {
                  phx_ref: expect.stringMatching(new RegExp(`^${conn}\\.\\d+$`)),
                  online_at: expect.stringMatching(/^\d{13}$/),
                },
              ],
            },
          });
          const diff = await client.frames.next();
          expect(diff).toMatchObject({
            topic,
            event: "presence_diff",
            ref: null,
            payload: { joins: Object(state.payload), leaves: {} },
          });
          if (v2) {
            expect(reply.joinRef).toBe("3");
            expect(state.joinRef).toBe("3");
            expect(diff.joinRef).toBeNull();
          }
        });

        test("gives each connection its own id", async () => {
          const ids = new Set<string>();
          for (let i = 0; i < 3; i++) {
            const client = await world.connect({ transport, vsn });
            ids.add(JSON.stringify((await client.join("quiet", { token: world.token("quiet") })).response));
          }
          expect(ids.size).toBe(3);
        });

        test("of a joined topic ends the old membership first", async () => {
          const client = await world.connect({ transport, vsn });
          const token = world.token("quiet");
          const first = await client.join("quiet", { token });
          await client.fence();
          client.send({
            joinRef: "again",
            ref: "again",
            topic: "quiet",
            event: "phx_join",
            payload: JSON.stringify({ token }),
          });
          const close = await client.frames.next();
          expect(close).toMatchObject({
            event: "phx_close",
            topic: "quiet",
            ref: first.joinRef,
            payload: {},
          });
          const reply = await client.frames.next();
          expect(reply).toMatchObject({ event: "phx_reply", topic: "quiet", ref: "again" });
          expect(reply.payload).toMatchObject({ status: "ok" });
          if (v2) {
            expect(close.joinRef).toBe(first.joinRef);
            expect(reply.joinRef).toBe("again");
          }
          await world.backend.publish("to:quiet:once", "1");
          await client.event("once");
          expect(await client.fence()).toEqual([]);
        });

        test("of more than max_channels topics is rejected; a rejoin is not", async () => {
          const client = await world.connect({ transport, vsn });
          const token = world.token("quiet*");
          for (const topic of ["quiet:1", "quiet:2", "quiet:3"]) {
            expect((await client.join(topic, { token })).status).toBe("ok");
          }
          const refused = await client.join("quiet:4", { token });
          expect(refused).toMatchObject({
            status: "error",
            response: { reason: "too many channels joined" },
          });
          expect((await client.join("quiet:2", { token })).status).toBe("ok");
          expect((await client.ask({ topic: "quiet:1", event: "phx_leave" })).status).toBe("ok");
          expect((await client.join("quiet:4", { token })).status).toBe("ok");
        });

        test("of an invalid topic is rejected", async () => {
          const client = await world.connect({ transport, vsn });
          const token = world.token("*");
          for (const topic of [
            "",
            "a".repeat(256),
            "ä".repeat(128),
            "a\nb",
            "\u0000",
            "a\u0085",
            "a\u007f",
            "x\ud800",
          ]) {
            const { response } = await client.join(topic, { token });
            expect({ topic, response }).toEqual({ topic, response: { reason: "invalid topic" } });
          }
        });

        test("of a topic of the maximum length, in any script, is accepted", async () => {
          const client = await world.connect({ transport, vsn });
          for (const topic of [`quiet${"ä".repeat(125)}`, "quiet 😀 ' \" \\ / *[a-z]?", "quiet__proto__"]) {
            expect((await client.join(topic, { token: world.token(topic) })).status).toBe("ok");
            await world.backend.publish(`to:${topic}:hello`, '"x"');
            expect((await client.event("hello", topic)).payload).toBe("x");
            await client.ask({ topic, event: "phx_leave" });
          }
        });

        test("without a valid token is unauthorized; an expired token is reported as expired", async () => {
          const client = await world.connect({ transport, vsn });
          const good = world.token("quiet");
          const cases: [unknown, string][] = [
            [undefined, "unauthorized"],
            [null, "unauthorized"],
            [7, "unauthorized"],
            [{ toString: good }, "unauthorized"],
            ["", "unauthorized"],
            ["[object Promise]", "unauthorized"],
            [`${good}x`, "unauthorized"],
            [good.split(".").slice(0, 2).join("."), "unauthorized"],
            [mint({ id: "alice", channel: "quiet" }, "another secret"), "unauthorized"],
            [mint({ id: "alice", channel: "quiet" }, SECRET, { alg: "none" }), "unauthorized"],
            [mint({ id: "alice", channel: "quiet", exp: undefined }, SECRET), "unauthorized"],
            [mint({ id: "alice", channel: "other" }, SECRET), "unauthorized"],
            [mint({ id: "alice" }, SECRET), "unauthorized"],
            [mint({ id: "a".repeat(257), channel: "quiet" }, SECRET), "unauthorized"],
            [mint({ id: "a\ud800", channel: "quiet" }, SECRET), "unauthorized"],
            [mint({ id: "alice", channel: "quiet", fill: "x".repeat(8192) }, SECRET), "unauthorized"],
            [mint({ id: "alice", channel: "quiet", exp: past(60) }, SECRET), "token expired"],
          ];
          for (const [token, reason] of cases) {
            const { status, response } = await client.join("quiet", { token });
            expect({ token, status, response }).toMatchObject({
              token,
              status: "error",
              response: { reason },
            });
          }
          expect((await client.join("quiet", { token: good })).status).toBe("ok");
        });

        test("uses the token of the socket only when it has none of its own", async () => {
          const client = await world.connect({ transport, vsn, params: { userToken: world.token("quiet") } });
          expect((await client.join("quiet")).status).toBe("ok");
          const bad = await client.join("quiet:bad", { token: world.token("quiet") });
          expect(bad.response).toMatchObject({ reason: "unauthorized" });
          const own = await client.join("quiet:own", { token: world.token("quiet:own") });
          expect(own.status).toBe("ok");
        });

        test("accepts a payload that is not an object when the socket has a token", async () => {
          const client = await world.connect({ transport, vsn, params: { token: world.token("quiet") } });
          for (const payload of ["null", "[]", '"text"', "1"]) {
            client.send({ joinRef: payload, ref: payload, topic: "quiet", event: "phx_join", payload });
            expect((await client.reply(payload)).status).toBe("ok");
          }
        });

        test("with a null ref is accepted or rejected with a null ref", async () => {
          const client = await world.connect({ transport, vsn });
          const payload = JSON.stringify({ token: world.token("quiet") });
          client.send({ joinRef: "1", ref: null, topic: "quiet", event: "phx_join" });
          const refused = await client.reply(null);
          expect(refused).toMatchObject({ status: "error", response: { reason: "unauthorized" } });
          client.send({ joinRef: "1", ref: null, topic: "quiet", event: "phx_join", payload });
          const { status, frame } = await client.reply(null);
          expect([status, frame.topic]).toEqual(["ok", "quiet"]);
          if (v2) expect(frame.joinRef).toBe("1");
          client.send({ joinRef: null, ref: null, topic: "phoenix", event: "phx_join" });
          expect((await client.reply(null)).frame.topic).toBe("phoenix");
          await world.backend.publish("to:quiet:here", "true");
          expect((await client.event("here")).payload).toBe(true);
        });

        test("with numeric refs is answered with numeric refs", async () => {
          const client = await world.connect({ transport, vsn });
          const payload = JSON.stringify({ token: world.token("quiet") });
          client.send({ joinRef: 1, ref: 2, topic: "quiet", event: "phx_join", payload });
          const { frame, status } = await client.reply(2);
          expect(status).toBe("ok");
          if (v2) expect(frame.joinRef).toBe(1);
          client.send({ joinRef: 1, ref: 3, topic: "quiet", event: "phx_leave" });
          expect((await client.reply(3)).status).toBe("ok");
          const close = await client.event("phx_close");
          expect(close.ref).toBe(1);
        });

        test("accepts a ref of the maximum length; a longer one or one of another type is malformed", async () => {
          const client = await world.connect({ transport, vsn });
          const payload = JSON.stringify({ token: world.token("quiet") });
          const ref = "r".repeat(64);
          client.send({ joinRef: ref, ref, topic: "quiet", event: "phx_join", payload });
          expect((await client.reply(ref)).status).toBe("ok");
          for (const bad of [
            JSON.stringify("r".repeat(65)),
            JSON.stringify("ä".repeat(33)),
            "true",
            "{}",
            "[1]",
          ]) {
            client.sendText(
              v2
                ? `["1",${bad},"quiet","phx_join",${payload}]`
                : `{"topic":"quiet","event":"phx_join","payload":${payload},"ref":${bad}}`,
            );
            const error = await client.event("phx_error");
            expect(error).toMatchObject({ topic: "phoenix", ref: null });
            expect(error.payload).toMatchObject({ reason: expect.stringMatching(/^malformed frame: ./) });
          }
        });
      });
    }
  });
}

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

/** JSON texts that change when parsed and serialized again. */
const TELLTALES = [
  "{}",
  '{"b":1,"a":2,"b":3}',
  '{"big":12345678901234567890,"precise":0.1000000000000000055511151231257827,"e":1E400,"minus":-0}',
  '{ "spaced" :\t[ 1 ,2 ],\n"x":{ } }',
  '{"escaped":"\\u00e9\\/\\ud83d\\ude00","plain":"é😀","lone":"\\ud800"}',
  '{"__proto__":{"polluted":true},"constructor":null}',
  '{"2":"two","1":"one"}',
  '[1,[2,[3,"]"]],{"a":"}"}]',
  '"a text, with \\"quotes\\" and ] and }"',
  "3.0",
  "true",
  "null",
];

for (const bus of BUSES) {
  describe(`on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: `[channels."quiet*"]\npresence = false\n` });
    });
    afterAll(() => world.stop());

    for (const { vsn, transport, way } of WAYS) {
      const v2 = vsn === "2.0.0";
      const joinedTo = async (topic: string, claims = {}): Promise<PhoenixClient> => {
        const client = await world.connect({ transport, vsn });
        await client.join(topic, { token: world.token(topic, claims) });
        return client;
      };

      describe(`push, ${way}`, () => {
        test("is published with its payload unchanged", async () => {
          const topic = `quiet:${way}:exact`;
          const client = await joinedTo(topic);
          const received = await world.backend.listenToPushes(topic);
          for (const [i, payload] of TELLTALES.entries()) {
            const reply = client.ask({ joinRef: "1", topic, event: `event ${i}`, payload });
            const { name, payload: published } = await received.next();
            expect([name, published.toString()]).toEqual([`from:${topic}:event ${i}`, payload]);
            expect(await reply).toMatchObject({ status: "ok", response: {} });
            if (v2) expect((await reply).frame.joinRef).toBe("1");
          }
        });

        test("may contain white space anywhere, and in V1 keys in any order", async () => {
          const topic = "quiet:spaced";
          const client = await joinedTo(topic);
          const received = await world.backend.listenToPushes(topic);
          const payload = '{ "a":1 , "a" : 2.50 }';
          const texts = v2
            ? [
                ` [ "1" , "a1" ,\t"${topic}"\n, "news" , ${payload} ] `,
                `["1","a2","\\u0071uiet:spaced","n\\u0065ws",${payload}]`,
              ]
            : [
                ` { "payload" : ${payload} , "ref" : "a1" , "event" : "news" , "topic" : "${topic}" } `,
                `{"join_ref":"1","topic":"\\u0071uiet:spaced","ref":"a2","ev\\u0065nt":"n\\u0065ws","payload":${payload}}`,
              ];
          for (const [i, text] of texts.entries()) {
            client.sendText(text);
            expect((await client.reply(`a${i + 1}`)).status).toBe("ok");
            const { name, payload: published } = await received.next();
            expect([name, published.toString().trim()]).toEqual([`from:${topic}:news`, payload]);
          }
        });

        test("of one megabyte is published complete", async () => {
          const topic = `quiet:${way}:large`;
          const client = await joinedTo(topic);
          const received = await world.backend.listenToPushes(topic);
          const payload = JSON.stringify({ text: "ä€😀x".repeat(90_000) });
          expect((await client.ask({ topic, event: "news", payload })).status).toBe("ok");
          expect((await received.next()).payload.toString()).toBe(payload);
        });

        test("1000 in sequence are published in order, each answered once", async () => {
          const topic = `quiet:${way}:row`;
          const client = await joinedTo(topic);
          const received = await world.backend.listenToPushes(topic);
          const refs = Array.from({ length: 1000 }, (_, i) => `n${i}`);
          client.sendTogether(
            refs.map((ref, i) => ({ joinRef: "1", ref, topic, event: "news", payload: String(i) })),
          );
          await client.reply("n999");
          const answered = client.frames.all.filter((each) => each.event === "phx_reply").slice(1);
          expect(answered.map((each) => each.ref)).toEqual(refs);
          await received.until((each) => each.payload.toString() === "999");
          expect(received.all.map((each) => each.payload.toString())).toEqual(refs.map((_, i) => String(i)));
        });

        test("with a null ref is published and not answered", async () => {
          const topic = `quiet:${way}:null`;
          const client = await joinedTo(topic);
          const received = await world.backend.listenToPushes(topic);
          await client.fence();
          client.send({ joinRef: "1", ref: null, topic, event: "news", payload: "[1]" });
          expect((await received.next()).payload.toString()).toBe("[1]");
          expect(await client.fence()).toEqual([]);
        });

        test("with a stale join_ref is ignored, with a null join_ref is published", async () => {
          const topic = `quiet:${way}:stale`;
          const client = await joinedTo(topic);
          await client.join(topic, { token: world.token(topic) });
          const received = await world.backend.listenToPushes(topic);
          await client.fence();
          client.send({ joinRef: "1", ref: "a", topic, event: "stale" });
          client.send({ joinRef: null, ref: "b", topic, event: "current" });
          expect((await client.reply("b")).status).toBe("ok");
          expect((await received.next()).name).toBe(`from:${topic}:current`);
          expect(client.frames.all.filter((each) => each.ref === "a")).toEqual([]);
        });

        test("on a channel that was not joined is rejected and not published", async () => {
          const client = await joinedTo("quiet:one");
          const received = await world.backend.listen("from:*");
          for (const topic of ["quiet:two", "quiet", "quiet:one:", "system", "admin", ""]) {
            const { status, response, frame } = await client.ask({ joinRef: "1", topic, event: "news" });
            expect({ status, response }).toEqual({
              status: "error",
              response: { reason: "unmatched topic" },
            });
            if (v2) expect(frame.joinRef).toBeNull();
            expect(frame.topic).toBe(topic);
          }
          await client.ask({ topic: "quiet:one", event: "last" });
          await received.until((each) => each.name === "from:quiet:one:last");
          expect(received.all.filter((each) => each.name.endsWith(":news"))).toEqual([]);
        });

        test("on phoenix is rejected unless it is a heartbeat; every ref is answered", async () => {
          const client = await world.connect({ transport, vsn });
          const received = await world.backend.listen("from:phoenix:*");
          for (const event of ["news", "access_token", "phx_close", ""]) {
            expect([event, (await client.ask({ topic: "phoenix", event })).status]).toEqual([event, "error"]);
          }
          await client.fence();
          expect((await received.next()).name).toBe("from:phoenix:heartbeat");
        });

        test("after a leave is rejected", async () => {
          const client = await joinedTo("quiet:left");
          await client.ask({ topic: "quiet:left", event: "phx_leave" });
          const { response } = await client.ask({ topic: "quiet:left", event: "news" });
          expect(response).toEqual({ reason: "unmatched topic" });
        });

        test("of an invalid event is rejected and not published", async () => {
          const topic = `quiet:${way}:events`;
          const client = await joinedTo(topic);
          const received = await world.backend.listen(`from:*${topic}*`);
          const bad = [
            ...[
              "",
              "a".repeat(256),
              "ä".repeat(128),
              "a:b",
              ":",
              "a\nb",
              "\u0000",
              "a\u0085",
              "\u007f",
              "x\udfff",
            ],
            ...["phx_reply", "phx_close", "phx_error", "presence_state", "presence_diff"],
          ];
          for (const event of bad) {
            const { status, response } = await client.ask({ topic, event });
            expect({ event, status, response }).toEqual({
              event,
              status: "error",
              response: { reason: "invalid event" },
            });
          }
          for (const event of ["a".repeat(255), `${"ä".repeat(127)}x`, "a b", "__proto__", "*", "é"]) {
            expect((await client.ask({ topic, event })).status).toBe("ok");
            const pushed = await received.until((each) => !each.name.endsWith(":phx_join"), "the push");
            expect(pushed.name).toBe(`from:${topic}:${event}`);
          }
        });

        test("is forbidden when the token's can does not include it", async () => {
          const topic = `quiet:${way}:can`;
          const client = await joinedTo(topic, { can: ["join", "presence"] });
          const received = await world.backend.listenToPushes(topic);
          const refused = await client.ask({ topic, event: "news" });
          expect(refused).toMatchObject({ status: "error", response: { reason: "forbidden" } });
          const able = await joinedTo(topic, { can: ["join", "push"] });
          expect((await able.ask({ topic, event: "able" })).status).toBe("ok");
          await received.until((each) => each.name === `from:${topic}:able`, "the push of the able one");
          expect(received.all.filter((each) => each.name === `from:${topic}:news`)).toEqual([]);
        });

        test("join is forbidden when the token's can does not include it", async () => {
          const client = await world.connect({ transport, vsn });
          const { response } = await client.join("quiet", { token: world.token("quiet", { can: ["push"] }) });
          expect(response).toEqual({ reason: "forbidden" });
        });
      });
    }
  });
}

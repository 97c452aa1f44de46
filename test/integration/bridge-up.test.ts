import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Inbox } from "./inbox.ts";
import { encodeBinary, WAYS } from "./phoenix-client.ts";
import { BUSES, type Heard, SECRET, startWorld, type World } from "./world.ts";

for (const bus of BUSES) {
  describe(`upstream on ${bus}`, () => {
    let world: World;
    /** All messages that backends receive in this file. */
    let everything: Inbox<Heard>;
    const tokens: string[] = [];
    const token = (channel: string, claims = {}): string => {
      const made = world.token(channel, claims);
      tokens.push(made);
      return made;
    };
    const jsonOf = ({ payload }: Heard): unknown => JSON.parse(payload.toString());

    beforeAll(async () => {
      world = await startWorld(bus, { toml: `presence_window = "10ms"\n` });
      everything = await world.backend.listen("*");
    });
    afterAll(() => world.stop());

    for (const { vsn, transport, way } of WAYS) {
      test(`publishes a join and a leave without the token, ${way}`, async () => {
        const received = await world.backend.listen("from:room:*");
        const client = await world.connect({ transport, vsn });
        const { joinRef } = await client.join("room", {
          before: [1],
          token: token("room"),
          after: { token: "kept" },
        });
        const join = await received.next();
        expect(join.name).toBe("from:room:phx_join");
        expect(jsonOf(join)).toEqual({ before: [1], after: { token: "kept" } });
        client.send({ joinRef, ref: "x", topic: "room", event: "phx_leave" });
        expect((await client.reply("x")).status).toBe("ok");
        const leave = await received.next();
        expect(leave.name).toBe("from:room:phx_leave");
        expect(jsonOf(leave)).toEqual({});
      });

      test(`removes the token for every spelling of its key, ${way}`, async () => {
        const received = await world.backend.listen("from:room:*");
        const client = await world.connect({ transport, vsn });
        const text = JSON.stringify(token("room"));
        const spellings = [
          `{"token":${text}}`,
          `{"token":${text},"a":1,"token":${text}}`,
          `{"\\u0074oken":${text},"a":1}`,
          `{"a":1,"tok\\u0065n":${text},"token":${text}}`,
          ` { "token" : ${text} , "a" : 1 } `,
        ];
        for (const [i, payload] of spellings.entries()) {
          client.send({ joinRef: `j${i}`, ref: `j${i}`, topic: "room", event: "phx_join", payload });
          expect((await client.reply(`j${i}`)).status).toBe("ok");
          const join = await received.until((each) => each.name === "from:room:phx_join");
          expect(join.payload.toString()).not.toContain(JSON.parse(text));
          const left = jsonOf(join);
          expect(left).toEqual(payload.includes('"a"') ? { a: 1 } : {});
        }
      });

      test(`publishes the rest of the payload byte for byte, ${way}`, async () => {
        const received = await world.backend.listen("from:room:*");
        const client = await world.connect({ transport, vsn });
        const text = JSON.stringify(token("room"));
        const around = [
          '{ "n":12345678901234567890',
          '"e":1.0e0, "e":2 , "text":"\\u00e9, \\"token\\":1"}',
        ] as const;
        for (const [event, ref] of [
          ["phx_join", "1"],
          ["phx_leave", "2"],
        ] as const) {
          const payload = `${around[0]}, "token": ${text}, ${around[1]}`;
          client.send({ joinRef: "1", ref, topic: "room", event, payload });
          expect((await client.reply(ref)).status).toBe("ok");
          const published = await received.next();
          expect(published.name).toBe(`from:room:${event}`);
          const sent = published.payload.toString();
          expect(sent).not.toContain(text);
          for (const part of [
            '"n":12345678901234567890',
            '"e":1.0e0',
            '"e":2',
            '"text":"\\u00e9, \\"token\\":1"',
          ]) {
            expect(sent).toContain(part);
          }
          expect(JSON.parse(sent)).toEqual(JSON.parse(around.join(",")));
        }
      });

      test(`does not publish a rejected join, ${way}`, async () => {
        const received = await world.backend.listen("from:*");
        const client = await world.connect({ transport, vsn });
        await client.join("secret room", { token: token("room") });
        await client.join("secret room");
        await client.ask({ topic: "secret room", event: "phx_leave" });
        await client.join("room", { token: token("room") });
        await received.until((each) => each.name === "from:room:phx_join");
        expect(received.all.filter((each) => each.name.startsWith("from:secret room"))).toEqual([]);
      });

      test(`answers an access_token push and does not publish it, ${way}`, async () => {
        const received = await world.backend.listen("from:renewed:*");
        const client = await world.connect({ transport, vsn });
        await client.join("renewed", { token: token("renewed") });
        const payload = JSON.stringify({ token: token("renewed", { jti: "next" }) });
        const renewal = await client.ask({ topic: "renewed", event: "access_token", payload });
        expect(renewal).toMatchObject({ status: "ok" });
        const bad = JSON.stringify({ token: token("elsewhere") });
        const refusal = await client.ask({ topic: "renewed", event: "access_token", payload: bad });
        expect(refusal).toMatchObject({ status: "error", response: { reason: "unauthorized" } });
        for (const odd of ["null", "{}", '{"token":7}', JSON.stringify(tokens.at(-1)), "[]"]) {
          const { status } = await client.ask({ topic: "renewed", event: "access_token", payload: odd });
          expect([odd, status]).toEqual([odd, "error"]);
        }
        const unjoined = await client.ask({ topic: "never joined", event: "access_token", payload });
        expect(unjoined.response).toEqual({ reason: "unmatched topic" });
        if (vsn === "2.0.0") {
          const data = Buffer.from(payload);
          client.sendBinary(encodeBinary({ ref: "bytes", topic: "renewed", event: "access_token", data }));
          await client.reply("bytes");
        }
        await client.ask({ topic: "renewed", event: "last" });
        await received.until((each) => each.name === "from:renewed:last");
        expect(received.all.map((each) => each.name)).toEqual(["from:renewed:phx_join", "from:renewed:last"]);
      });

      test(`publishes a heartbeat with the connection's id, ${way}`, async () => {
        const client = await world.connect({ transport, vsn });
        const { response } = await client.join("room", { token: token("room") });
        const [conn] = String(Object(response).id).split(":");
        const received = await world.backend.listen("from:phoenix:*");
        client.send({ topic: "phoenix", event: "heartbeat", ref: "1", payload: '{"token":"x"}' });
        const heartbeat = await received.next();
        expect(heartbeat.name).toBe("from:phoenix:heartbeat");
        expect(jsonOf(heartbeat)).toEqual({ conn_id: conn });
      });
    }

    test("publishes a presence_diff to backends, only for channels with presence", async () => {
      const received = await world.backend.listen("to:*:presence_diff");
      const client = await world.connect();
      await client.join("watched", { token: token("watched", { id: "bob" }) });
      const joined = await received.until((each) => each.name === "to:watched:presence_diff");
      expect(jsonOf(joined)).toEqual({
        joins: {
          bob: { metas: [{ phx_ref: expect.any(String), online_at: expect.stringMatching(/^\d{13}$/) }] },
        },
        leaves: {},
      });
      client.socket.cut();
      const left = await received.until((each) => each.name === "to:watched:presence_diff");
      expect(jsonOf(left)).toEqual({
        joins: {},
        leaves: {
          bob: { metas: [{ phx_ref: expect.any(String), online_at: expect.stringMatching(/^\d{13}$/) }] },
        },
      });
    });

    test("publishes no token and logs no secret", async () => {
      await world.backend.publish("to:end:of", "1");
      await everything.until((each) => each.name === "to:end:of");
      const messages = everything.all.map((each) => `${each.name} ${each.payload}`).join("\n");
      const log = world.channel.output();
      expect(tokens.length).toBeGreaterThan(10);
      for (const secret of [...tokens, SECRET]) {
        const signature = secret.split(".").at(-1) ?? secret;
        expect(messages).not.toContain(signature);
        expect(log).not.toContain(signature);
      }
    });
  });
}

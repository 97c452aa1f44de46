import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually, type Frame, type Joined, type PhoenixClient, WAYS } from "./phoenix-client.ts";
import { ADMIN_SECRET, BUSES, startWorld, type World } from "./world.ts";

const AS_ADMIN = { authorization: `Bearer ${ADMIN_SECRET}` };

// No events for backends: positions count them too.
const TOML = `
admin_events = false
presence_events = false
[channels."room:*"]
history = 50
presence = false

[channels."seen:*"]
history = 50

[channels."last:*"]
last_value = true
presence = false
`;

/** The messages, gaps and positions of a channel: `[ref, event, payload]`. */
function shown({ ref, event, payload }: Frame): unknown[] {
  return [ref, event, payload];
}

/** Waits for the event `end`, and returns what came before it, without the replies. */
async function untilEnd(client: PhoenixClient): Promise<unknown[][]> {
  const seen: unknown[][] = [];
  for (;;) {
    const frame = await client.frames.next();
    if (frame.event === "end") return seen;
    seen.push(shown(frame));
  }
}

function response(joined: Joined): Record<string, unknown> {
  return Object(joined.response);
}

/** The position that follows a position of the same marker. */
function plus(position: unknown, n: number): string {
  const [marker, count] = String(position).split("-");
  return `${marker}-${Number(count) + n}`;
}

for (const bus of BUSES) {
  describe(`over ${bus}`, () => {
    let world: World;
    let topics = 0;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: TOML });
    });
    afterAll(() => world.stop());

    function fresh(family: string): {
      topic: string;
      publish: (event: string, payload: string | Buffer) => Promise<unknown>;
    } {
      const topic = `${family}:${++topics}`;
      return { topic, publish: (event, payload) => world.backend.publish(`to:${topic}:${event}`, payload) };
    }

    /** Waits until the server has received a message with this payload as the newest one. */
    async function kept(topic: string, list: "history" | "last", newest: number): Promise<void> {
      const url = `${world.channel.url}/api/channels/${encodeURIComponent(topic)}/${list}`;
      await eventually(async () => {
        const { messages } = await (await fetch(url, { headers: AS_ADMIN })).json();
        return messages.at(-1)?.payload === newest;
      }, `message ${newest} of ${topic}`);
    }

    for (const { vsn, transport, way } of WAYS) {
      test(`${way}: a client that was away gets what it missed, in order and once`, async () => {
        const { topic, publish } = fresh("room");
        const token = world.token(topic);
        const first = await world.connect({ vsn, transport });
        const joined = await first.join(topic, { token, recover: null });
        expect(response(joined)).toEqual({
          id: expect.any(String),
          position: expect.stringMatching(/^[0-9a-z.]+-\d+$/),
          recovered: null,
        });
        await publish("n", "1");
        const seen = await first.event("n");
        expect(seen.ref).toBe(plus(response(joined).position, 1));
        first.socket.cut();
        for (let i = 2; i <= 20; i++) await publish("n", String(i));
        await kept(topic, "history", 20);
        const second = await world.connect({ vsn, transport });
        const again = await second.join(topic, { token, recover: seen.ref });
        expect(response(again)).toMatchObject({ position: seen.ref, recovered: true });
        await publish("n", "21");
        await publish("end", "0");
        const from = (await untilEnd(second)).filter(([, event]) => event === "n");
        expect(from).toEqual(Array.from({ length: 20 }, (_, i) => [plus(seen.ref, i + 1), "n", i + 2]));
        const joinRefs = second.frames.all.filter(({ event }) => event === "n").map(({ joinRef }) => joinRef);
        if (vsn === "2.0.0") {
          expect(joinRefs.slice(0, 19)).toEqual(Array(19).fill(again.joinRef));
          expect(joinRefs[19]).toBeNull();
        }
      });

      test(`${way}: what is no longer kept is not recovered`, async () => {
        const { topic, publish } = fresh("room");
        const token = world.token(topic);
        const client = await world.connect({ vsn, transport });
        const start = response(await client.join(topic, { token, recover: null })).position;
        for (let i = 0; i <= 50; i++) await publish("n", String(i));
        await kept(topic, "history", 50);
        const other = await world.connect({ vsn, transport });
        expect(response(await other.join(topic, { token, recover: start }))).toMatchObject({
          recovered: false,
          reason: "too many",
          position: plus(start, 51),
        });
        expect(response(await other.join(topic, { token, recover: 7 }))).toMatchObject({
          recovered: false,
          reason: "unknown position",
        });
      });

      test(`${way}: a new member gets the last values, and the last page that it asks for`, async () => {
        const last = fresh("last");
        for (const [event, value] of Object.entries({ a: 1, b: 2 })) await last.publish(event, String(value));
        await last.publish("a", "3");
        await kept(last.topic, "last", 3);
        const client = await world.connect({ vsn, transport });
        await client.join(last.topic, { token: world.token(last.topic) });
        await last.publish("end", "0");
        expect(await untilEnd(client)).toEqual([
          [null, "b", 2],
          [null, "a", 3],
        ]);
        const room = fresh("room");
        for (let i = 1; i <= 5; i++) await room.publish("n", String(i));
        await kept(room.topic, "history", 5);
        const page = await client.join(room.topic, {
          token: world.token(room.topic),
          recover: null,
          replay: 3,
        });
        await room.publish("end", "0");
        const start = response(page).position;
        expect(await untilEnd(client)).toEqual([3, 4, 5].map((n) => [plus(start, n - 2), "n", n]));
      });

      test(`${way}: the state precedes what was missed`, async () => {
        const { topic, publish } = fresh("seen");
        const client = await world.connect({ vsn, transport });
        const token = world.token(topic);
        const start = response(await client.join(topic, { token, recover: null })).position;
        await publish("n", "1");
        await client.event("n");
        const other = await world.connect({ vsn, transport });
        await other.join(topic, { token, recover: start });
        await publish("end", "0");
        const events = (await untilEnd(other)).map(([, event]) => event);
        expect(events.slice(0, 2)).toEqual(["presence_state", "n"]);
      });
    }

    test("a binary message is followed by its position", async () => {
      const { topic, publish } = fresh("room");
      const token = world.token(topic);
      const client = await world.connect();
      const start = response(await client.join(topic, { token, recover: null })).position;
      const bytes = Buffer.from([0xff, 1, 2]);
      await publish("b", bytes);
      const frame = await client.event("b");
      expect(frame.kind).toBe("binary push");
      expect(frame.payload).toEqual(bytes);
      const position = plus(start, 1);
      expect(shown(await client.event("position"))).toEqual([position, "position", { position }]);
      const other = await world.connect();
      await other.join(topic, { token, recover: start });
      expect((await other.event("b")).joinRef).toBe("1");
      expect(shown(await other.event("position"))).toEqual([position, "position", { position }]);
    });
  });
}

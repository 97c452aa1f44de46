import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { VERSIONS, WAYS } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

/** Characters: what is put together in one piece, and what is not; a message of the bus in one chunk, and in several. */
const SIZES = [10, 16_300, 16_400, 70_000, 200_000, 1_100_000];

/** JSON of many sizes, each beside small messages; some of it is not ASCII. */
const PAYLOADS = SIZES.flatMap((size, index) => [
  { number: index, text: "x".repeat(size) },
  index,
  { number: index, text: `é${"y".repeat(size)}` },
  `small ${index}`,
]);

for (const bus of BUSES) {
  describe(`large messages on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: '[channels."*"]\npresence = false\n' });
    });
    afterAll(() => world.stop());

    test("published together, all of them arrive unchanged and in order, whatever the format of a member", async () => {
      const members = await Promise.all(
        WAYS.map(async ({ vsn, transport }) => {
          const member = await world.connect({ vsn, transport });
          await member.join("room", { token: world.token("room") });
          return member;
        }),
      );
      await Promise.all(
        PAYLOADS.map((payload) => world.backend.publish("to:room:large", JSON.stringify(payload))),
      );
      for (const member of members) {
        for (const [index, payload] of PAYLOADS.entries()) {
          const frame = await member.event("large", "room");
          expect([index, Bun.deepEquals(frame.payload, payload)]).toEqual([index, true]);
        }
      }
    });

    test("a name that takes more room as JSON than on the bus arrives with the payload unchanged", async () => {
      const topic = `${'"\\'.repeat(60)}room`;
      for (const vsn of VERSIONS) {
        const member = await world.connect({ vsn });
        const { status } = await member.join(topic, { token: world.token(topic) });
        expect(status).toBe("ok");
        const payload = ["x".repeat(100_000)];
        await world.backend.publish(`to:${topic}:large`, JSON.stringify(payload));
        expect(Bun.deepEquals((await member.event("large", topic)).payload, payload)).toBe(true);
      }
    });
  });
}

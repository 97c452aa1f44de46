import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Signer } from "../../../src/fleet/signer.ts";
import { connectPhoenix } from "../phoenix-client.ts";
import type { BusName } from "../world.ts";
import { everyKind, type Place, phoenix, startPlace, tokenOf } from "./every-protocol.ts";

/*
 * Messages on `hub:to`: to the members of a channel on all servers, except some, or to one of them.
 */

const CHANNELS = `[channels."room*"]\nhistory = 100\n[channels."latest*"]\nslow = "latest"\n`;

describe.each(["redis", "embedded"] satisfies BusName[])("addressed messages (%s)", (bus) => {
  let place: Place;
  beforeAll(async () => {
    place = await startPlace(bus, CHANNELS);
  }, 60_000);
  afterAll(() => place?.stop());

  /** Publishes as a server does. */
  async function address(
    channel: string,
    payload: string,
    { except = [] as readonly string[], connection = null as string | null, secret = place.secret } = {},
  ): Promise<void> {
    const envelope = JSON.stringify([channel, "say", except, connection, null]);
    await place.backend.publish("hub:to", new Signer([secret], "").sign("hub:to", `${envelope}\n${payload}`));
  }

  for (const channel of ["room", "latest"]) {
    test(`reach every member of ${channel} but the excluded ones, in the order of the messages on to:`, async () => {
      const clients = (await Promise.all(place.servers.map((server) => everyKind(server, channel)))).flat();
      const excluded = clients.filter((_, i) => i % 2 === 0);
      const except = [...excluded, ...excluded].map(({ id }) => id);
      for (let i = 0; i < 20; i++) {
        void place.backend.publish(`to:${channel}:say`, `${3 * i}`);
        void address(channel, `${3 * i + 1}`, { except: [...except, "nobody"] });
        void address(channel, `${3 * i + 2}`);
      }
      const [only] = clients;
      await address(channel, '"for one"', { connection: only?.id ?? "" });
      await place.backend.publish(`to:${channel}:say`, '"end"');
      for (const client of clients) {
        const expected = [...Array(60).keys()]
          .filter((i) => !excluded.includes(client) || i % 3 !== 1)
          .map(String);
        const own = client === only ? ['"for one"'] : [];
        expect({ [client.name]: await client.upToEnd() }).toEqual({
          [client.name]: [...expected, ...own, '"end"'],
        });
      }
    });
  }

  test("one connection of each protocol gets what is for it alone", async () => {
    const clients = (await Promise.all(place.servers.map((server) => everyKind(server, "room1")))).flat();
    for (const { id, name } of clients) await address("room1", JSON.stringify(name), { connection: id });
    await place.backend.publish("to:room1:say", '"end"');
    for (const client of clients)
      expect(await client.upToEnd()).toEqual([JSON.stringify(client.name), '"end"']);
  });

  test("pass on the payload unchanged, binary too, with a newline in it", async () => {
    const [server] = place.servers;
    if (server === undefined) throw new Error("a server");
    const { phoenix: client } = await phoenix(server, "room2", "bytes", {});
    const text = '{ "n":12345678901234567890,\n"__proto__":1, "n":2 }';
    await address("room2", text);
    expect((await client.event("say")).text).toBe(`[null,null,"room2","say",${text}]`);
    const envelope = Buffer.from(`${JSON.stringify(["room2", "say", [], null, null])}\n`);
    const bytes = Buffer.from([0, 255, 10, 10]);
    const signer = new Signer([place.secret], "");
    await place.backend.publish("hub:to", signer.signBytes("hub:to", Buffer.concat([envelope, bytes])));
    expect((await client.event("say")).payload).toEqual(bytes);
  });

  test("are not kept, and have no place among the positions", async () => {
    const [server] = place.servers;
    if (server === undefined) throw new Error("a server");
    const { phoenix: client } = await phoenix(server, "room3", "first", {}, true);
    await place.backend.publish("to:room3:say", "1");
    await address("room3", "2");
    await place.backend.publish("to:room3:say", "3");
    const frames = [await client.event("say"), await client.event("say"), await client.event("say")];
    const numbers = frames.map(({ ref }) => (ref === null ? null : Number(String(ref).split("-").at(-1))));
    const [first, second, third] = numbers;
    expect([second, third]).toEqual([null, Number(first) + 1]);
    const late = await connectPhoenix(server.url);
    await late.join("room3", { token: tokenOf("room3", "late"), recover: null, replay: 10 });
    expect([(await late.event("say")).payload, (await late.event("say")).payload]).toEqual([1, 3]);
  });

  test("are ignored if another secret, or none, signed them", async () => {
    const [server] = place.servers;
    if (server === undefined) throw new Error("a server");
    const { phoenix: client } = await phoenix(server, "room4", "alone", {});
    await address("room4", "1", { secret: "a-secret-of-no-server-of-these-tests" });
    await place.backend.publish("hub:to", `${JSON.stringify(["room4", "say", [], null, null])}\n2`);
    await address("room4", "3");
    expect((await client.event("say")).payload).toBe(3);
  });
});

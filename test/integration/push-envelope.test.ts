import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { WAYS } from "./phoenix-client.ts";
import { BUSES, startWorld, type World } from "./world.ts";

describe.each([...BUSES])("pushes with their sender (%s)", (bus) => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld(bus, { toml: '[channels."room:*"]\nsender = true\n' });
  });
  afterAll(() => world.stop());

  for (const { vsn, transport, way } of WAYS) {
    test(`${way}: name the user and the connection, whatever the payload says, and keep the payload unchanged`, async () => {
      const topic = `room:${way}`;
      const client = await world.connect({ vsn, transport });
      const { response } = await client.join(topic, { token: world.token(topic, { id: "mallory" }) });
      const agent = String(Object(response).id);
      const pushes = await world.backend.listen("push:*");
      const bare = await world.backend.listenToPushes(topic);
      const payload = '{ "user":"alice", "n":12345678901234567890, "__proto__":1, "n":2 }';
      const reply = await client.ask({ joinRef: "1", topic, event: "say", payload });
      expect(reply.status).toBe("ok");
      const { name, payload: envelope } = await pushes.next();
      expect(name).toBe(`push:${topic}:say`);
      const text = envelope.toString();
      expect(text).toEndWith(`,"payload":${payload}}`);
      const connection = agent.slice(0, agent.indexOf(":"));
      expect(JSON.parse(text)).toMatchObject({ channel: topic, event: "say", user: "mallory", connection });
      expect(String(JSON.parse(text).ref)).toBe(String(reply.frame.ref));
      expect((await bare.next()).payload.toString()).toBe(payload);
      client.socket?.cut();
    });
  }

  test("carry a binary payload as base64", async () => {
    const topic = "room:binary";
    const client = await world.connect();
    await client.join(topic, { token: world.token(topic) });
    const pushes = await world.backend.listen("push:*");
    const head = ["1", "7", topic, "blob"].map((part) => Buffer.from(part));
    const frame = Buffer.concat([
      Buffer.from([0, ...head.map(({ length }) => length)]),
      ...head,
      Buffer.from([0, 255]),
    ]);
    client.socket.sendBinary(frame);
    const { name, payload } = await pushes.next();
    expect(name).toBe(`push:${topic}:blob`);
    expect(JSON.parse(payload.toString())).toMatchObject({ user: "alice", ref: "7", base64: "AP8=" });
  });

  test("are published on channels that ask for it only, and joins are not", async () => {
    const pushes = await world.backend.listen("push:*");
    const client = await world.connect();
    for (const topic of ["other", "room:last"]) {
      await client.join(topic, { token: world.token(topic) });
      await client.ask({ joinRef: null, topic, event: "say", payload: "{}" });
    }
    expect((await pushes.next()).name).toBe("push:room:last:say");
  });
});

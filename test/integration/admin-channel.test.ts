import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Inbox } from "./inbox.ts";
import { eventually, type PhoenixClient } from "./phoenix-client.ts";
import { BUSES, type Heard, startWorld, type World } from "./world.ts";

/** An event of the `admin` channel, received from a socket or from the bus. */
interface AdminEvent {
  readonly event: string;
  readonly channel: string;
  readonly agent: string | undefined;
  readonly channels: readonly string[] | undefined;
  readonly agents: readonly string[] | undefined;
}

const texts = (value: unknown): string[] | undefined =>
  Array.isArray(value) && value.every((each) => typeof each === "string") ? value : undefined;

function parseEvent(event: string, payload: unknown): AdminEvent {
  const { channel, agent, channels, agents } = Object(payload);
  return {
    event,
    channel: String(channel),
    agent: typeof agent === "string" ? agent : undefined,
    channels: texts(channels),
    agents: texts(agents),
  };
}

const parseMessage = ({ name, payload }: Heard): AdminEvent =>
  parseEvent(name.slice("to:admin:".length), JSON.parse(payload.toString()));

for (const bus of BUSES) {
  describe(`the admin channel on ${bus}`, () => {
    let world: World;
    let backend: Inbox<Heard>;
    const about = async (channel: string, event: string): Promise<AdminEvent> =>
      parseMessage(
        await backend.until(
          (each) => each.name === `to:admin:${event}` && parseMessage(each).channel === channel,
          `${event} of ${channel}`,
        ),
      );
    /** Upper bound of notices from `start` to now at four a second. Delayed notices may arrive together. */
    const mostSince = (start: number): number => 4 * Math.ceil((performance.now() - start) / 1000) + 4;
    const joined = async (topic: string, id = "alice"): Promise<{ client: PhoenixClient; agent: string }> => {
      const client = await world.connect();
      const { response } = await client.join(topic, { token: world.token(topic, { id }) });
      return { client, agent: String(Object(response).id) };
    };

    beforeAll(async () => {
      world = await startWorld(bus);
      backend = await world.backend.listen("to:admin:channel.*");
    });
    afterAll(() => world.stop());

    test("publishes channels and agents to backends without an administrator joined", async () => {
      const one = await joined("room:1");
      const add = await about("room:1", "channel.add");
      expect(new Set(add.channels)).toEqual(new Set(["phoenix", "admin", "system", "room:1"]));
      expect(await about("room:1", "channel.join")).toMatchObject({ agent: one.agent, agents: [one.agent] });

      const two = await joined("room:1", "bob");
      const join = await about("room:1", "channel.join");
      expect(join.agent).toBe(two.agent);
      expect(new Set(join.agents)).toEqual(new Set([one.agent, two.agent]));

      await one.client.ask({ topic: "room:1", event: "phx_leave" });
      expect(await about("room:1", "channel.leave")).toMatchObject({ agent: one.agent, agents: [two.agent] });
      // Wait until the coalescing window has passed.
      await Bun.sleep(1100);
      two.client.socket.cut();
      expect(await about("room:1", "channel.leave")).toMatchObject({ agent: two.agent, agents: [] });
      const remove = await about("room:1", "channel.remove");
      expect(new Set(remove.channels)).toEqual(new Set(["phoenix", "admin", "system"]));
      const adds = backend.all.map(parseMessage).filter((each) => each.event === "channel.add");
      expect(adds.filter((each) => each.channel === "room:1").length).toBe(1);
    });

    test("never adds or removes the channels that always exist", async () => {
      const { client } = await joined("system");
      await client.ask({ topic: "system", event: "phx_leave" });
      await about("system", "channel.leave");
      await joined("room:2");
      await about("room:2", "channel.add");
      const seen = backend.all.map(parseMessage);
      const wrong = seen.filter(
        (each) => ["system", "admin", "phoenix"].includes(each.channel) && /add|remove/.test(each.event),
      );
      expect(wrong).toEqual([]);
    });

    test("sends an administrator every channel, then each change", async () => {
      const room = await joined("room:3");
      const admin = await world.connect();
      const token = await world.adminToken("root");
      const { status, response } = await admin.join("admin", { token });
      expect(status).toBe("ok");
      const lists = new Map<string, readonly string[]>();
      for (const channel of ["phoenix", "system", "admin", "room:3"]) {
        const frame = await eventually(
          () =>
            admin.frames.all.find(
              (each) =>
                each.event === "channel.list" && parseEvent(each.event, each.payload).channel === channel,
            ),
          `channel.list of ${channel}`,
        );
        expect(frame.topic).toBe("admin");
        lists.set(channel, parseEvent("channel.list", frame.payload).agents ?? ["no agents at all"]);
      }
      expect(lists.get("phoenix")).toEqual([]);
      expect(lists.get("system")).toEqual([]);
      expect(lists.get("admin")).toEqual([String(Object(response).id)]);
      expect(lists.get("room:3")).toEqual([room.agent]);

      const newcomer = await joined("room:4");
      const add = await admin.event("channel.add", "admin");
      expect(parseEvent(add.event, add.payload).channel).toBe("room:4");
      const join = await admin.frames.until(
        (each) => each.event === "channel.join" && parseEvent(each.event, each.payload).channel === "room:4",
      );
      expect(parseEvent(join.event, join.payload).agents).toEqual([newcomer.agent]);

      // Once each: our own message is not delivered again from the bus, nor are forged messages of a backend.
      await world.backend.publish("to:admin:channel.add", '{"channel":"forged","channels":["forged"]}');
      await world.backend.publish("to:admin:channel.join", '{"channel":"forged","agent":"x","agents":["x"]}');
      await world.backend.publish("to:admin:notice", '"from a backend"');
      await admin.event("notice");
      const seen = admin.frames.all.map((each) => parseEvent(each.event, each.payload));
      expect(seen.filter((each) => each.event === "channel.add" && each.channel === "room:4").length).toBe(1);
      expect(seen.filter((each) => each.channel === "forged")).toEqual([]);
    });

    test.concurrent("coalesces joins and leaves of one channel to four a second, each with the current agents", async () => {
      const received = await world.backend.listen("to:admin:channel.*");
      const notices = () =>
        received.all
          .map(parseMessage)
          .filter(({ channel, event }) => channel === "crowd" && /join|leave/.test(event));
      const members: { client: PhoenixClient; agent: string }[] = [];
      let joins = 0;
      const start = performance.now();
      while (performance.now() - start < 1600 || joins < 40) {
        members.push(await joined("crowd"));
        // Keep the number of members low, so that the list is complete.
        if (++joins % 3 === 0 || members.length > 50) {
          await members.shift()?.client.ask({ topic: "crowd", event: "phx_leave" });
        }
      }
      const agents = members.map((each) => each.agent).sort();
      await eventually(
        () => notices().at(-1)?.agents?.toSorted().join() === agents.join(),
        "the newest list of agents",
      );
      expect(notices().length).toBeLessThanOrEqual(mostSince(start));
    }, 20_000);

    test.concurrent("coalesces joins and leaves of a channel that is added and removed continuously", async () => {
      const received = await world.backend.listen("to:admin:channel.*");
      const client = await world.connect();
      const token = world.token("flip");
      const start = performance.now();
      let flips = 0;
      while (performance.now() - start < 1500) {
        await client.join("flip", { token });
        await client.ask({ topic: "flip", event: "phx_leave" });
        flips++;
        await Bun.sleep(20);
      }
      const noticesOf = (event: string) =>
        received.all.map(parseMessage).filter((each) => each.channel === "flip" && each.event === event);
      await eventually(() => noticesOf("channel.remove").length === flips, "the last removal");
      expect(noticesOf("channel.add").length).toBe(flips);
      expect(noticesOf("channel.join").length + noticesOf("channel.leave").length).toBeLessThanOrEqual(
        mostSince(start),
      );
    }, 20_000);

    test("drops no add and no remove in a burst and keeps their order", async () => {
      const COUNT = 60;
      const received = await world.backend.listen("to:admin:channel.*");
      const client = await world.connect();
      const token = world.token("burst:*");
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < COUNT; i++) {
          const topic = `burst:${i}`;
          client.send({ joinRef: `${i}`, topic, event: "phx_join", payload: JSON.stringify({ token }) });
          client.send({ topic, event: "phx_leave" });
        }
      }
      await client.fence();
      const events = new Map<string, string[]>();
      let removed = 0;
      while (removed < 2 * COUNT) {
        const change = parseMessage(await received.next());
        if (!change.channel.startsWith("burst:") || !/add|remove/.test(change.event)) continue;
        events.set(change.channel, [...(events.get(change.channel) ?? []), change.event]);
        if (change.event === "channel.remove") removed++;
      }
      expect(events.size).toBe(COUNT);
      for (const each of events.values()) {
        expect(each).toEqual(["channel.add", "channel.remove", "channel.add", "channel.remove"]);
      }
    });
  });
}

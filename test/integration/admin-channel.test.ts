import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Inbox } from "./inbox.ts";
import { eventually, type PhoenixClient } from "./phoenix-client.ts";
import { BUSES, type Heard, startWorld, type World } from "./world.ts";

/** What the `admin` channel says, whichever way it came. */
interface Said {
  readonly event: string;
  readonly channel: string;
  readonly agent: string | undefined;
  readonly channels: readonly string[] | undefined;
  readonly agents: readonly string[] | undefined;
}

const texts = (value: unknown): string[] | undefined =>
  Array.isArray(value) && value.every((each) => typeof each === "string") ? value : undefined;

function saidOf(event: string, payload: unknown): Said {
  const { channel, agent, channels, agents } = Object(payload);
  return {
    event,
    channel: String(channel),
    agent: typeof agent === "string" ? agent : undefined,
    channels: texts(channels),
    agents: texts(agents),
  };
}

const heardAs = ({ name, payload }: Heard): Said =>
  saidOf(name.slice("to:admin:".length), JSON.parse(payload.toString()));

for (const bus of BUSES) {
  describe(`the admin channel on ${bus}`, () => {
    let world: World;
    let backend: Inbox<Heard>;
    const about = async (channel: string, event: string): Promise<Said> =>
      heardAs(
        await backend.until(
          (each) => each.name === `to:admin:${event}` && heardAs(each).channel === channel,
          `${event} of ${channel}`,
        ),
      );
    /** The most that four a second make of the time up to now: what comes late may come together. */
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

    test("tells backends of channels and agents, though no administrator looks", async () => {
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
      // Long enough ago that nothing is coalesced.
      await Bun.sleep(1100);
      two.client.socket.cut();
      expect(await about("room:1", "channel.leave")).toMatchObject({ agent: two.agent, agents: [] });
      const remove = await about("room:1", "channel.remove");
      expect(new Set(remove.channels)).toEqual(new Set(["phoenix", "admin", "system"]));
      const adds = backend.all.map(heardAs).filter((each) => each.event === "channel.add");
      expect(adds.filter((each) => each.channel === "room:1").length).toBe(1);
    });

    test("never adds or removes the channels that always exist", async () => {
      const { client } = await joined("system");
      await client.ask({ topic: "system", event: "phx_leave" });
      await about("system", "channel.leave");
      await joined("room:2");
      await about("room:2", "channel.add");
      const said = backend.all.map(heardAs);
      const wrong = said.filter(
        (each) => ["system", "admin", "phoenix"].includes(each.channel) && /add|remove/.test(each.event),
      );
      expect(wrong).toEqual([]);
    });

    test("shows an administrator every channel, then what changes", async () => {
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
              (each) => each.event === "channel.list" && saidOf(each.event, each.payload).channel === channel,
            ),
          `channel.list of ${channel}`,
        );
        expect(frame.topic).toBe("admin");
        lists.set(channel, saidOf("channel.list", frame.payload).agents ?? ["no agents at all"]);
      }
      expect(lists.get("phoenix")).toEqual([]);
      expect(lists.get("system")).toEqual([]);
      expect(lists.get("admin")).toEqual([String(Object(response).id)]);
      expect(lists.get("room:3")).toEqual([room.agent]);

      const newcomer = await joined("room:4");
      const add = await admin.event("channel.add", "admin");
      expect(saidOf(add.event, add.payload).channel).toBe("room:4");
      const join = await admin.frames.until(
        (each) => each.event === "channel.join" && saidOf(each.event, each.payload).channel === "room:4",
      );
      expect(saidOf(join.event, join.payload).agents).toEqual([newcomer.agent]);

      // Once each: what comes back from the bus is not delivered a second time; nor is what others say there.
      await world.backend.publish("to:admin:channel.add", '{"channel":"forged","channels":["forged"]}');
      await world.backend.publish("to:admin:channel.join", '{"channel":"forged","agent":"x","agents":["x"]}');
      await world.backend.publish("to:admin:notice", '"from a backend"');
      await admin.event("notice");
      const seen = admin.frames.all.map((each) => saidOf(each.event, each.payload));
      expect(seen.filter((each) => each.event === "channel.add" && each.channel === "room:4").length).toBe(1);
      expect(seen.filter((each) => each.channel === "forged")).toEqual([]);
    });

    test.concurrent("coalesces joins and leaves of one channel to four a second, each with the newest agents", async () => {
      const heard = await world.backend.listen("to:admin:channel.*");
      const news = () =>
        heard.all
          .map(heardAs)
          .filter(({ channel, event }) => channel === "crowd" && /join|leave/.test(event));
      const members: { client: PhoenixClient; agent: string }[] = [];
      let came = 0;
      const start = performance.now();
      while (performance.now() - start < 1600 || came < 40) {
        members.push(await joined("crowd"));
        // Few enough that the list is complete.
        if (++came % 3 === 0 || members.length > 50) {
          await members.shift()?.client.ask({ topic: "crowd", event: "phx_leave" });
        }
      }
      const agents = members.map((each) => each.agent).sort();
      await eventually(
        () => news().at(-1)?.agents?.toSorted().join() === agents.join(),
        "the newest list of agents",
      );
      expect(news().length).toBeLessThanOrEqual(mostSince(start));
    }, 20_000);

    test.concurrent("coalesces them for a channel that opens and closes all the time, too", async () => {
      const heard = await world.backend.listen("to:admin:channel.*");
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
      const said = (event: string) =>
        heard.all.map(heardAs).filter((each) => each.channel === "flip" && each.event === event);
      await eventually(() => said("channel.remove").length === flips, "the last removal");
      expect(said("channel.add").length).toBe(flips);
      expect(said("channel.join").length + said("channel.leave").length).toBeLessThanOrEqual(
        mostSince(start),
      );
    }, 20_000);

    test("drops no add and no remove in a burst, and keeps their order", async () => {
      const COUNT = 60;
      const heard = await world.backend.listen("to:admin:channel.*");
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
        const said = heardAs(await heard.next());
        if (!said.channel.startsWith("burst:") || !/add|remove/.test(said.event)) continue;
        events.set(said.channel, [...(events.get(said.channel) ?? []), said.event]);
        if (said.event === "channel.remove") removed++;
      }
      expect(events.size).toBe(COUNT);
      for (const each of events.values()) {
        expect(each).toEqual(["channel.add", "channel.remove", "channel.add", "channel.remove"]);
      }
    });
  });
}

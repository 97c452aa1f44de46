import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Channel, LongPoll, Presence, type PresenceEntry, Socket } from "phoenix";
import { eventually } from "./phoenix-client.ts";
import { type Random, randomFrom, SEED } from "./random.ts";
import { BUSES, startWorld, type World } from "./world.ts";

/** User ids that careless code handles wrongly. */
const IDS = [
  ...["alice", "bob", "__proto__", "constructor", "toString", "hasOwnProperty", "prototype", " "],
  ...["1", "0", "-1", "a.b", 'say "hi"', "back\\slash", "é😀", "\u0000", "\u2028", "x".repeat(256)],
];
const TOPIC = "lobby";
const STEPS = 500;
const CHECKPOINT = 60;

/** One connection of a user, driven by phoenix.js. */
interface Person {
  readonly id: string;
  readonly socket: Socket;
  /** Whether it polls. It is never cut: a server detects the end of a poller only 15 s later. */
  readonly polls: boolean;
  /** The current membership, and its phoenix.js Presence. */
  channel: Channel | null;
  presence: Presence | null;
  joined: boolean;
}

/** The members and their number of connections, in one comparable line. */
type Truth = ReadonlyMap<string, number>;

function countOf(people: Iterable<Person>): Truth {
  const counts = new Map<string, number>();
  for (const { id, joined } of people) if (joined) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

const show = (truth: Truth): string =>
  [...truth]
    .map(([id, n]) => `${JSON.stringify(id)} ${n}`)
    .sort()
    .join("\n");

function foldedBy(presence: Presence | null): { counts: Truth; refs: string[] } {
  const counts = new Map<string, number>();
  const refs: string[] = [];
  presence?.list((id: string, { metas }: PresenceEntry) => {
    counts.set(id, metas.length);
    refs.push(...metas.map((each) => `${id} ${each.phx_ref}`));
  });
  return { counts, refs: refs.sort() };
}

/** Cuts a connection of phoenix.js without a close frame. */
function cut(conn: WebSocket | null): void {
  if (conn !== null && "terminate" in conn && typeof conn.terminate === "function") conn.terminate();
}

for (const bus of BUSES) {
  describe(`presence on ${bus}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld(bus, { toml: `presence_window = "20ms"\n` });
    });
    afterAll(() => world.stop());

    const arrive = (id: string, polls: boolean): Person => {
      const socket = new Socket(`${world.channel.url.replace("http", "ws")}/websocket`, {
        params: { userToken: world.token(TOPIC, { id }) },
        reconnectAfterMs: () => 5,
        rejoinAfterMs: () => 5,
        ...(polls ? { transport: LongPoll } : {}),
      });
      socket.connect();
      return { id, socket, polls, channel: null, presence: null, joined: false };
    };

    /**
     * Joins, and waits for the state. Until it arrives, phoenix.js keeps diffs that were meant for an earlier membership of
     * the same topic, and folds them into the state of a later connection if the connection is cut in between.
     */
    const join = async (person: Person): Promise<void> => {
      const channel = person.socket.channel(TOPIC, {});
      const presence = new Presence(channel);
      person.channel = channel;
      person.presence = presence;
      const stated = new Promise<void>((resolve) => presence.onSync(() => resolve()));
      await new Promise<void>((resolve, reject) => {
        channel
          .join()
          .receive("ok", () => resolve())
          .receive("error", (response) =>
            reject(new Error(`join of ${person.id}: ${JSON.stringify(response)}`)),
          )
          .receive("timeout", () => reject(new Error(`join of ${person.id} timed out`)));
      });
      await stated;
      person.joined = true;
    };

    const leave = (person: Person): Promise<void> => {
      const { channel } = person;
      person.joined = false;
      person.channel = null;
      person.presence = null;
      return new Promise((resolve) => {
        if (channel === null) resolve();
        else channel.leave().receive("ok", () => resolve());
      });
    };

    /** Every client has the correct members, and all have the same phx_refs. */
    const check = async (people: ReadonlySet<Person>, when: string): Promise<void> => {
      const truth = show(countOf(people));
      let different = "";
      const same = await eventually(() => {
        let refs: string | null = null;
        for (const person of people) {
          if (!person.joined) continue;
          const folded = foldedBy(person.presence);
          different = `${person.id} sees\n${show(folded.counts)}`;
          if (show(folded.counts) !== truth) return false;
          refs ??= folded.refs.join();
          if (folded.refs.join() !== refs) return false;
        }
        return true;
      }, "agreement").catch(() => false);
      if (!same) throw new Error(`seed ${SEED}, ${when}: the truth is\n${truth}\n${different}`);
    };

    /** One random action of one user. */
    const act = async (random: Random, person: Person, people: Set<Person>): Promise<void> => {
      const dice = random.real();
      if (!person.joined) await join(person);
      else if (dice < 0.3) await leave(person);
      else if (dice < 0.6 || person.polls) {
        // Leaves and rejoins, perhaps within one window.
        const gone = leave(person);
        if (random.chance(0.5)) await gone;
        await Promise.all([gone, join(person)]);
      } else if (dice < 0.8) {
        // The connection is cut; phoenix.js reconnects and rejoins on its own.
        const back = Promise.withResolvers<void>();
        person.socket.onOpen(() => back.resolve());
        cut(person.socket.conn);
        await back.promise;
      } else {
        // Disconnects for good, with or without a close frame.
        people.delete(person);
        const { conn } = person.socket;
        person.socket.disconnect();
        if (random.chance(0.5)) cut(conn);
      }
    };

    test(`phoenix.js computes the correct members through ${STEPS} joins, leaves, rejoins and disconnects`, async () => {
      const random = randomFrom(SEED);
      const people = new Set<Person>();
      const backend = await world.backend.listen(`to:${TOPIC}:presence_diff`);
      try {
        for (let done = 0, checked = 0; done < STEPS; ) {
          // Several at once, so that one window has many changes; each user does one action at a time.
          const acts: Promise<void>[] = [];
          const idle = [...people];
          for (let together = 1 + random.int(6); together > 0; together--) {
            if (idle.length === 0 || people.size < 6 || (people.size < 24 && random.chance(0.25))) {
              const person = arrive(random.pick(IDS), random.chance(0.4));
              people.add(person);
              acts.push(join(person));
            } else {
              const [person] = idle.splice(random.int(idle.length), 1);
              if (person !== undefined) acts.push(act(random, person, people));
            }
          }
          await Promise.all(acts);
          done += acts.length;
          if (done - checked >= CHECKPOINT) {
            checked = done;
            await check(people, `after ${done} steps`);
          }
        }
        await check(people, "at the end");

        // A new client receives the same state, and no phx_ref was used twice.
        const witness = await world.connect();
        await witness.join(TOPIC, { token: world.token(TOPIC, { id: "the witness" }) });
        const state: unknown = JSON.parse((await witness.event("presence_state")).text)[4];
        const counts = new Map<string, number>();
        for (const [id, entry] of Object.entries(Object(state))) {
          if (id !== "the witness") counts.set(id, Object(entry).metas.length);
        }
        expect(show(counts)).toBe(show(countOf(people)));

        // So are the members that a backend computes from the diffs.
        await backend.until((each) => each.payload.includes('"the witness"'), "the diff of the witness");
        const present = new Map<string, Set<string>>();
        const used = new Set<string>();
        for (const { payload } of backend.all) {
          const { joins, leaves } = Object(JSON.parse(payload.toString()));
          for (const [id, entry] of Object.entries(Object(joins))) {
            const refs = present.get(id) ?? new Set();
            for (const { phx_ref } of Object(entry).metas) {
              expect(used.has(phx_ref)).toBe(false);
              used.add(phx_ref);
              refs.add(phx_ref);
            }
            present.set(id, refs);
          }
          for (const [id, entry] of Object.entries(Object(leaves))) {
            for (const { phx_ref } of Object(entry).metas)
              expect(present.get(id)?.delete(phx_ref)).toBe(true);
          }
        }
        present.delete("the witness");
        const received = new Map(
          [...present].filter(([, refs]) => refs.size > 0).map(([id, refs]) => [id, refs.size]),
        );
        expect(show(received)).toBe(show(countOf(people)));
      } finally {
        for (const { socket } of people) socket.disconnect();
      }
    }, 60_000);

    test("batches 1000 joins in one window into few frames", async () => {
      const watcher = await world.connect();
      await watcher.join("crowd", { token: world.token("crowd", { id: "watcher" }) });
      const joiners = await Promise.all(Array.from({ length: 10 }, () => world.connect()));
      const token = world.token("crowd");
      for (let i = 0; i < 100; i++) {
        for (const joiner of joiners) {
          joiner.send({
            joinRef: `${i}`,
            ref: null,
            topic: "crowd",
            event: "phx_join",
            payload: JSON.stringify({ token }),
          });
        }
      }
      for (const joiner of joiners) await joiner.fence();
      const late = await world.connect();
      await late.join("crowd", { token: world.token("crowd", { id: "late" }) });
      const metas = (of: unknown): string[] =>
        (Object(Object(of).alice).metas ?? []).map((each: unknown) => String(Object(each).phx_ref));
      const truth = metas((await late.event("presence_state")).payload);
      expect(truth.length).toBe(10);
      const present = new Set<string>();
      let diffs = 0;
      while (diffs === 0 || [...present].sort().join() !== truth.sort().join()) {
        const { joins, leaves } = Object((await watcher.event("presence_diff")).payload);
        diffs++;
        for (const each of metas(joins)) present.add(each);
        for (const each of metas(leaves)) present.delete(each);
      }
      expect(diffs).toBeLessThan(100);
    }, 20_000);

    test("is off for a token whose can does not include it", async () => {
      const client = await world.connect();
      await client.join("blind", { token: world.token("blind", { can: ["join", "push"] }) });
      const other = await world.connect();
      await other.join("blind", { token: world.token("blind", { id: "bob" }) });
      await other.event("presence_diff");
      await world.backend.publish("to:blind:mark", "1");
      await client.event("mark");
      expect(client.frames.all.map((each) => each.event)).toEqual(["phx_reply", "mark"]);
    });
  });
}

test("[channels] presence = false disables presence for matching channels; the longest pattern decides", async () => {
  const world = await startWorld("embedded", {
    toml: `[channels."*"]\npresence = false\n[channels."room:*"]\npresence = true\n[channels."room:dark"]\npresence = false\n`,
  });
  try {
    const received = await world.backend.listen("to:*:presence_diff");
    const seen: [string, string[]][] = [];
    for (const topic of ["street", "room:dark", "room:1"]) {
      const client = await world.connect();
      await client.join(topic, { token: world.token(topic) });
      if (topic === "room:1") await client.event("presence_diff");
      else await Bun.sleep(150);
      await client.fence();
      const events = client.frames.all.filter((each) => each.topic === topic).map((each) => each.event);
      seen.push([topic, events.slice(1)]);
    }
    expect(seen).toEqual([
      ["street", []],
      ["room:dark", []],
      ["room:1", ["presence_state", "presence_diff"]],
    ]);
    await received.until((each) => each.name === "to:room:1:presence_diff");
    expect(received.all.length).toBe(1);
  } finally {
    await world.stop();
  }
});
